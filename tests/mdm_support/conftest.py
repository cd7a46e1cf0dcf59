"""A district of two schools with holders and enrolled tablets, operators who are signed in, and tablets' answers."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from mdm import db, vault
from mdm.app import operator_app
from mdm.auth import Role, credentials
from mdm.auth.models import Operator, OperatorSchool
from mdm.devices.models import Device, Enrollment, EnrollmentStatus, LedgerState
from mdm.organization.models import Holder, School, SchoolClass


@dataclass(frozen=True)
class District:
    """`a`, `b` and `plain` (not supervised) are pupils' in E1, `spare` is stock there, `far` is a pupil's in E2."""

    schools: dict[str, int]
    tablets: dict[str, int]


def _tablet(session, school_id: int, name: str, holder: int | None = None, **enrollment) -> int:
    device = Device(
        control_number=f"T-{name.upper()}",
        serial=f"SERIAL{name.upper()}",
        platform="apple",
        school_id=school_id,
        holder_id=holder,
        state=LedgerState.ISSUED if holder else LedgerState.STOCK,
    )
    session.add(device)
    session.flush()
    facts = {"status": EnrollmentStatus.ACTIVE, "epoch": 1, "supervised": True, "udid": f"udid-{name}"} | enrollment
    session.add(Enrollment(device_id=device.id, **facts))
    session.flush()
    return device.id


@pytest.fixture
def district(database: str) -> District:
    with db.transaction() as session:
        rows = [School(code=code, name=f"School {code}") for code in ("E1", "E2")]
        session.add_all(rows)
        session.flush()
        here, there = (row.id for row in rows)
        form = SchoolClass(school_id=here, year=3, name="B")
        session.add(form)
        session.flush()

        def holder(school_id: int, user_id: str) -> int:
            sealed = vault.seal("holder.name", b"Invented Name")
            person = Holder(
                school_id=school_id,
                user_id=user_id,
                name_sealed=sealed,
                class_id=form.id if school_id == here else None,
            )
            session.add(person)
            session.flush()
            return person.id

        tablets = {
            "a": _tablet(session, here, "a", holder(here, "p1")),
            "b": _tablet(session, here, "b", holder(here, "p2")),
            "plain": _tablet(session, here, "plain", holder(here, "p3"), supervised=False),
            "spare": _tablet(session, here, "spare"),
            "far": _tablet(session, there, "far", holder(there, "p4")),
        }
        return District(schools={row.code: row.id for row in rows}, tablets=tablets)


class Api:
    """A signed-in client under /api/v1; a POST gets a fresh Idempotency-Key. `expect` is the status."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, path: str, expect: int = 200, **params):
        answer = self.client.get(f"/api/v1{path}", params=params)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def post(self, path: str, body=None, *, expect: int | None = None, key: str | None = None):
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        answer = self.client.post(f"/api/v1{path}", json=body, headers=headers)
        right = answer.is_success if expect is None else answer.status_code == expect
        assert right, answer.text
        return answer.json()

    def put(self, path: str, body, expect: int = 200):
        answer = self.client.put(f"/api/v1{path}", json=body)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def open(self, kind: str = "lost", *, expect: int | None = None, **more):
        body = {"kind": kind, "caller": "guardian", "verified": "call_back"} | more
        return self.post("/cases", body, expect=expect)


@pytest.fixture
def sign_in(district: District) -> Iterator:
    """Make an operator and sign in: `sign_in("hana")` of support for all schools, `sign_in("jiro", school="E2")`."""
    opened = []

    def make(name: str, role: Role = Role.SUPPORT, *, school: str | None = None) -> Api:
        with db.transaction() as session:
            operator = Operator(name=name, password_hash="", role=role, all_schools=school is None, made_on_host=True)
            session.add(operator)
            session.flush()
            if school is not None:
                session.add(OperatorSchool(operator_id=operator.id, school_id=district.schools[school]))
            secret = credentials.open_session(session, operator.id).secret
        opened.append(TestClient(operator_app(), headers={"Authorization": f"Bearer {secret}"}))
        return Api(opened[-1])

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def hana(sign_in) -> Api:
    """Somebody of the support desk, for all schools."""
    return sign_in("hana")


@pytest.fixture
def sql(database: str):
    """Run one statement as time and tablets would act."""

    def run(statement: str, **values) -> list:
        with db.engine().begin() as connection:
            answer = connection.execute(text(statement), values)
            return answer.all() if answer.returns_rows else []

    return run


@pytest.fixture
def says(sql):
    """Let a tablet report a command's state, and what follows from it: `says(command, "done")`."""

    def report(command: dict, state: str, result: str | None = None) -> None:
        ended = state in ("done", "failed")
        sql(
            "WITH t AS (UPDATE command SET state = :state, result = CAST(:result AS jsonb),"
            " delivered_at = coalesce(delivered_at, now()), ended_at = CASE WHEN :ended THEN now() END"
            " WHERE id = CAST(:id AS uuid) RETURNING id)"
            " INSERT INTO command_event (command_id, state) SELECT id, :state FROM t",
            id=command["id"],
            state=state,
            ended=ended,
            result=result,
        )
        if state == "done" and command["kind"] in ("lost_mode_on", "lost_mode_off"):
            sql(
                "UPDATE enrollment SET lost_mode = :on, last_seen_at = now() WHERE device_id ="
                " (SELECT device_id FROM command WHERE id = CAST(:id AS uuid))",
                on=command["kind"] == "lost_mode_on",
                id=command["id"],
            )

    return report


def asked(case: dict, purpose: str) -> dict:
    """Return the latest command of a case for a purpose."""
    return [each for each in case["commands"] if each["purpose"] == purpose][-1]


def happened(case: dict) -> list[str]:
    """Return what is on a case's timeline, in order."""
    return [each["what"] for each in case["timeline"]]
