"""Approvals by themselves: what the digest binds, and what the database refuses by itself."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from mdm.auth import CredentialKind, Principal, Role, Scope
from mdm.auth.models import Operator
from mdm.devices.models import Device
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.organization.models import School
from mdm.safeguards import approvals

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_subjects = st.dictionaries(st.text(), _json)


@given(_subjects, _subjects, st.text(), st.text())
def test_digest_tells_subjects_apart(one, other, action, another):
    """Equal subjects have equal digests in whatever order they were written; different ones differ."""
    backwards = dict(reversed(list(one.items())))
    assert approvals.digest(action, one) == approvals.digest(action, backwards)
    same = json.dumps([action, one], sort_keys=True) == json.dumps([another, other], sort_keys=True)
    assert (approvals.digest(action, one) == approvals.digest(another, other)) == same


@pytest.fixture
def people(session):
    """Three operators of one school and one tablet in it."""
    school = School(code="E1", name="x")
    session.add(school)
    session.flush()
    device = Device(control_number="C1", serial="S1", platform="apple", school_id=school.id)
    rows = [Operator(name=name, password_hash="", role=Role.SUPPORT) for name in ("hana", "jiro", "mieko")]
    session.add_all([device, *rows])
    session.flush()
    scope = Scope(all_schools=False, school_ids=frozenset([school.id]))
    principals = {row.name: Principal(row.id, row.name, Role.SUPPORT, scope) for row in rows}
    return principals, {"devices": [{"id": device.id, "serial": "S1"}], "what": "erase"}


def _request(session, people, reason="stolen"):
    principals, subject = people
    return approvals.request(session, principals["hana"], action="thing.erase", subject=subject, reason=reason)


def test_only_the_same_subject_is_approved(session, people):
    """An approval is for exactly what was asked."""
    principals, subject = people
    asked = _request(session, people)
    with pytest.raises(approvals.SubjectChanged):
        approvals.approve(session, principals["jiro"], asked.id, present=subject | {"what": "sell"})
    approved = approvals.approve(session, principals["jiro"], asked.id, present=subject)
    assert (approved.state, approved.decided_by) == ("approved", principals["jiro"].id)
    with pytest.raises(Conflict):
        approvals.approve(session, principals["mieko"], asked.id, present=subject)


def test_who_may_not(session, people):
    """Not the requester, not a viewer, not a token, nobody outside of scope; and no request without a reason."""
    principals, subject = people
    asked = _request(session, people)
    jiro = principals["jiro"]
    outside = Scope(all_schools=False)
    cases = [
        (principals["hana"], approvals.SelfApproval),
        (Principal(jiro.id, "jiro", Role.VIEWER, jiro.scope), Forbidden),
        (Principal(jiro.id, "jiro", Role.SUPPORT, jiro.scope, CredentialKind.TOKEN), Forbidden),
        (Principal(jiro.id, "jiro", Role.ADMINISTRATOR, outside), NotFound),
    ]
    for who, refusal in cases:
        with pytest.raises(refusal):
            approvals.approve(session, who, asked.id, present=subject)
    with pytest.raises(Invalid):
        _request(session, people, reason="   ")


def test_a_subject_outside_of_the_ledger_is_in_nobodys_scope(session, people):
    """A request about a tablet that is not in the ledger is invisible to operators of some schools."""
    principals, subject = people
    ghost = {"devices": [*subject["devices"], {"id": 999, "serial": "GHOST"}]}
    asked = approvals.request(session, principals["hana"], action="x", subject=ghost, reason="r")
    assert approvals.visible(session, principals["jiro"].scope, state=None, before=None, limit=10) == []
    with pytest.raises(NotFound):
        approvals.find(session, principals["jiro"].scope, asked.id)


def test_the_database_itself_holds_a_wipe_back(session, people):
    """A class A command cannot stand in the queue by SQL alone, and not with another command's approval."""
    principals, subject = people
    device_id = subject["devices"][0]["id"]
    insert = (
        "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, approval_id)"
        " VALUES (%s, 1, %s, '{}', 'k', 0, %s, now(), %s)"
    )
    asked = _request(session, people)
    approvals.approve(session, principals["jiro"], asked.id, present=subject)
    session.flush()
    for kind, approval in (("wipe", None), ("wipe", asked.id), ("anything_new", None)):
        savepoint = session.begin_nested()
        with pytest.raises(DBAPIError, match="second person"):
            session.connection().exec_driver_sql(insert, (device_id, kind, "queued", approval))
        savepoint.rollback()
    session.connection().exec_driver_sql(insert, (device_id, "wipe", "held", None))
    with pytest.raises(DBAPIError, match="second person"):
        session.connection().exec_driver_sql("UPDATE command SET state = 'delivered'")
