"""Tickets through the operator API: who may open them, what the answer holds, scope, and the audit trail."""

import base64
import plistlib
from datetime import UTC, datetime

import pytest
from sqlmodel import col, select
from starlette.testclient import TestClient

from mdm.app import operator_app
from mdm.audit.models import AuditEvent
from mdm.auth import Role, credentials
from mdm.auth.models import Operator, OperatorSchool

TICKETS = "/api/v1/tickets"


@pytest.fixture
def sign_in(session, push_certificate, district):
    """Make a client of the operator API for a role and, if given, some schools only."""
    opened = []

    def make(role, *codes):
        row = Operator(
            name=f"{role.value}-{'-'.join(codes)}",
            password_hash="x",
            role=role,
            all_schools=not codes,
            created_at=datetime.now(UTC),
        )
        session.add(row)
        session.flush()
        session.add_all(OperatorSchool(operator_id=row.id, school_id=district.schools[code]) for code in codes)
        secret = credentials.open_session(session, row.id).secret
        session.commit()
        client = TestClient(operator_app(), headers={"Authorization": f"Bearer {secret}"})
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def support(sign_in):
    return sign_in(Role.SUPPORT)


def actions(session):
    session.rollback()
    events = session.exec(select(AuditEvent).order_by(col(AuditEvent.id))).all()
    return [(event.actor, event.action, event.subject) for event in events]


def test_a_ticket_for_a_tablet(support, door, session):
    """The answer has the profile that the door gives, once; the act is on record and the secret is not."""
    answer = support.post(TICKETS, json={"serial": "issued1"})
    assert answer.status_code == 201
    opened = answer.json()
    body = base64.b64decode(opened["profile"])
    scep, _ = plistlib.loads(body)["PayloadContent"]
    assert scep["PayloadContent"]["Challenge"] == opened["secret"]
    assert opened["url"].endswith(f"/enroll/apple/{opened['secret']}")
    assert door.get(f"/enroll/apple/{opened['secret']}").content == body
    assert actions(session) == [("operator:support-", "ticket.open", f"ticket:{opened['id']}")]
    assert opened["secret"] not in str(session.exec(select(AuditEvent)).one())
    listed = support.get(TICKETS).json()["items"]
    assert [(line["id"], line["serial"], line["kind"]) for line in listed] == [(opened["id"], "ISSUED1", "tablet")]
    assert opened["secret"] not in str(listed)


def test_a_staging_ticket(support):
    """A school's bench: N uses, some hours."""
    opened = support.post(TICKETS, json={"school": "e-01", "uses": 40, "hours": 2}).json()
    line = support.get(TICKETS).json()["items"][0]
    assert (line["id"], line["school"], line["uses"], line["used"]) == (opened["id"], "e-01", 40, 0)
    lifetime = datetime.fromisoformat(line["expires_at"]) - datetime.fromisoformat(line["created_at"])
    assert lifetime.total_seconds() == 7200


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({}, 422),
        ({"serial": "ISSUED1", "school": "e-01"}, 422),
        ({"serial": "ISSUED1", "uses": 2}, 422),
        ({"school": "e-01", "uses": 0}, 422),
        ({"school": "e-01", "hours": 1000}, 422),
        ({"serial": "ISSUED1", "extra": 1}, 422),
        ({"serial": "UNKNOWN"}, 404),
        ({"school": "e-99"}, 404),
        ({"serial": "LOST2"}, 409),
        ({"serial": "RETIRED5"}, 409),
        ({"school": "e-01", "platform": "android"}, 409),
    ],
)
def test_refusals(support, session, wanted, status):
    """Contradictions, strangers, lost and retired tablets get no ticket."""
    answer = support.post(TICKETS, json=wanted)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert actions(session) == []


def test_roles(sign_in):
    """A viewer lists and opens nothing; without a sign-in there is nothing."""
    viewer = sign_in(Role.VIEWER)
    assert viewer.get(TICKETS).status_code == 200
    assert viewer.post(TICKETS, json={"serial": "ISSUED1"}).status_code == 403
    assert viewer.post(f"{TICKETS}/00000000-0000-0000-0000-000000000000/revoke").status_code == 403
    assert TestClient(operator_app()).get(TICKETS).status_code == 401


def test_scope(sign_in, support):
    """An operator of one school neither sees nor opens nor ends what is another's."""
    elsewhere = sign_in(Role.SUPPORT, "e-02")
    opened = [support.post(TICKETS, json=wanted).json() for wanted in ({"serial": "ISSUED1"}, {"school": "e-01"})]
    assert elsewhere.get(TICKETS).json()["items"] == []
    assert elsewhere.post(TICKETS, json={"serial": "ISSUED1"}).status_code == 404
    assert elsewhere.post(TICKETS, json={"school": "e-01"}).status_code == 404
    for each in opened:
        assert elsewhere.post(f"{TICKETS}/{each['id']}/revoke").status_code == 404
    assert elsewhere.post(TICKETS, json={"serial": "ISSUED7"}).status_code == 201


def test_revocation(support, door, session):
    """A revoked ticket opens no door and leaves the list; the act is on record."""
    opened = support.post(TICKETS, json={"serial": "ISSUED1"}).json()
    assert support.post(f"{TICKETS}/{opened['id']}/revoke").status_code == 204
    assert door.get(f"/enroll/apple/{opened['secret']}").status_code == 404
    assert support.get(TICKETS).json()["items"] == []
    assert len(support.get(TICKETS, params={"live": False}).json()["items"]) == 1
    assert ("operator:support-", "ticket.revoke", f"ticket:{opened['id']}") in actions(session)


def test_pages(support):
    """The list goes on behind its cursor, without gaps or doubles."""
    made = [support.post(TICKETS, json={"school": "e-01"}).json()["id"] for _ in range(5)]
    seen, cursor = [], None
    while cursor or not seen:
        page = support.get(TICKETS, params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [line["id"] for line in page["items"]]
        cursor = page["next"]
    assert seen == made[::-1]
