"""Approvals by themselves: what the digest binds, and what the database refuses by itself."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from mdm.auth import CredentialKind, Principal, Role, Scope
from mdm.auth.models import Operator
from mdm.auth.webauthn import NotProved
from mdm.devices.models import Device
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.organization.models import School
from mdm.safeguards import approvals, keys, signing
from mdm.safeguards.signing import Signature
from tests import signer

_signers: dict[str, signer.Signer] = {}
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_subjects = st.dictionaries(st.text(), _json)
_UNTIL = datetime(2026, 11, 24, tzinfo=UTC)
_requests = st.fixed_dictionaries(
    {
        "action": st.text(),
        "subject": _subjects,
        "reason": st.text(),
        "requested_by": st.integers(1, 3),
        "expires_at": st.sampled_from([_UNTIL, _UNTIL + timedelta(microseconds=1)]),
    }
)


def _digest(request):
    return signing.digest(**request)


@given(_requests, _requests, st.sampled_from(["action", "subject", "reason", "requested_by", "expires_at"]))
def test_digest_tells_requests_apart(one, other, part):
    """Equal requests have equal digests however they were written; a change of any part makes another."""
    backwards = one | {"subject": dict(reversed(list(one["subject"].items())))}
    assert _digest(one) == _digest(backwards) == signer.digest(**one)
    same = json.dumps(one[part], sort_keys=True, default=str) == json.dumps(other[part], sort_keys=True, default=str)
    assert (_digest(one) == _digest(one | {part: other[part]})) == same


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
    connection = session.connection().connection.driver_connection
    for name in ("hana", "jiro"):
        _signers[name] = signer.Signer(name).pinned_by(connection)
    return principals, {"devices": [{"id": device.id, "serial": "S1"}], "what": "erase"}


def _approve(session, who, asked, present, *, urgent=False, by=None, **changes):
    mine = _signers[by or who.name]
    given = {"key_id": mine.id, "signature": Signature(mine.sign(asked.digest, urgent=False)), "urgent": urgent}
    consent = approvals.Consent(**given | changes)
    return approvals.approve(session, who, asked.id, present=present, consent=consent)


def _request(session, people, reason="stolen"):
    principals, subject = people
    return approvals.request(session, principals["hana"], action="thing.erase", subject=subject, reason=reason)


def test_only_the_same_subject_is_approved(session, people):
    """An approval is for exactly what was asked."""
    principals, subject = people
    asked = _request(session, people)
    with pytest.raises(approvals.SubjectChanged):
        _approve(session, principals["jiro"], asked, subject | {"what": "sell"})
    approved = _approve(session, principals["jiro"], asked, subject)
    assert (approved.state, approved.decided_by) == ("approved", principals["jiro"].id)
    with pytest.raises(Conflict):
        _approve(session, principals["mieko"], asked, subject, by="jiro")


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
            _approve(session, who, asked, subject)
    with pytest.raises(Invalid):
        _request(session, people, reason="   ")


def test_only_a_persons_own_pinned_key_signs(session, people):
    """Somebody else's key, one that is revoked or not pinned, another wish for haste, or no signature: refused."""
    principals, subject = people
    asked, jiro = _request(session, people), principals["jiro"]
    for refused, changes in (
        (keys.NotPinned, {"by": "hana"}),
        (keys.NotPinned, {"key_id": 999}),
        (NotProved, {"urgent": True}),
        (NotProved, {"signature": Signature(_signers["hana"].sign(asked.digest, urgent=False))}),
        (NotProved, {"signature": Signature("")}),
        (NotProved, {"signature": Signature("ß")}),
    ):
        with pytest.raises(refused):
            _approve(session, jiro, asked, subject, **changes)
    for column in ("pinned_at = NULL", "revoked_at = now()"):
        savepoint = session.begin_nested()
        session.connection().exec_driver_sql(f"UPDATE approver_key SET {column}")
        with pytest.raises(keys.NotPinned):
            _approve(session, jiro, asked, subject)
        savepoint.rollback()
    assert _approve(session, jiro, asked, subject).signature is not None


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
    _approve(session, principals["jiro"], asked, subject)
    session.flush()
    for kind, approval in (("wipe", None), ("wipe", asked.id), ("anything_new", None)):
        savepoint = session.begin_nested()
        with pytest.raises(DBAPIError, match="second person"):
            session.connection().exec_driver_sql(insert, (device_id, kind, "queued", approval))
        savepoint.rollback()
    session.connection().exec_driver_sql(insert, (device_id, "wipe", "held", None))
    with pytest.raises(DBAPIError, match="second person"):
        session.connection().exec_driver_sql("UPDATE command SET state = 'delivered'")
