"""A small invented district with enrolled tablets, and operators who are signed in to the real operator app."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from starlette.testclient import TestClient

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role, Scope, credentials
from mdm.auth.models import Operator
from mdm.devices.models import Device, Enrollment, EnrollmentStatus
from mdm.organization.models import School
from mdm.settings import get_settings
from tests.signer import Signer


@dataclass(frozen=True)
class District:
    """Ids of schools and tablets: `a` and `b` supervised, `plain` not, all in E1; `far` in E2; `stock` not enrolled."""

    schools: dict[str, int]
    tablets: dict[str, int]


def add_tablet(session, school_id: int, serial: str, **enrollment) -> int:
    device = Device(control_number=f"C-{serial}", serial=serial, platform="apple", school_id=school_id)
    session.add(device)
    session.flush()
    facts = {"status": EnrollmentStatus.ACTIVE, "epoch": 1, "supervised": True, "udid": f"udid-{serial}"} | enrollment
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
        tablets = {
            "a": add_tablet(session, here, "SERIALA"),
            "b": add_tablet(session, here, "SERIALB"),
            "plain": add_tablet(session, here, "SERIALP", supervised=False),
            "far": add_tablet(session, there, "SERIALF"),
            "stock": add_tablet(session, here, "SERIALS", status=EnrollmentStatus.ABSENT, epoch=0, udid=None),
        }
        return District(schools={row.code: row.id for row in rows}, tablets=tablets)


class Api:
    """A signed-in client; `ask` adds the Idempotency-Key."""

    def __init__(self, client: TestClient, name: str) -> None:
        self.client = client
        self.name = name
        self.signer = Signer(name)

    def get(self, path: str, **params):
        return self.client.get(f"/api/v1{path}", params=params)

    def post(self, path: str, body=None, key: str | None = None):
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self.client.post(f"/api/v1{path}", json=body, headers=headers)

    def ask(self, device_id: int, kind: str, reason: str = "", **arguments):
        body = {"kind": kind, "arguments": arguments, "reason": reason}
        return self.post(f"/devices/{device_id}/commands", body)

    def wipe(self, device_id: int) -> dict:
        answer = self.ask(device_id, "wipe", reason="stolen")
        assert answer.status_code == 202, answer.text
        return answer.json()

    def approve(self, approval_id: str, *, urgent: bool = True, **changes):
        """Sign a request as it is shown, and send that; `changes` to the body."""
        if not self.signer.id:
            self.signer.pinned(get_settings().database_url)
        shown = self.get(f"/approvals/{approval_id}")
        nothing = {"key": self.signer.id, "signature": "AA"}
        body = self.signer.consent(shown.json(), urgent=urgent) if shown.status_code == 200 else nothing
        return self.post(f"/approvals/{approval_id}/approve", body | changes)

    def state(self, command_id: str) -> str:
        return self.get(f"/commands/{command_id}").json()["state"]


@pytest.fixture
def sign_in(district: District) -> Iterator:
    """Make an operator and sign in: `sign_in("hana", Role.SUPPORT, schools=["E1"])`, all schools by default."""
    app = operator_app()

    def make(name: str, role: Role = Role.SUPPORT, *, schools: list[str] | None = None, token: bool = False) -> Api:
        scope = Scope(schools is None, frozenset(district.schools[code] for code in schools or []))
        with db.transaction() as session:
            operator = Operator(
                name=name, password_hash="", role=role, all_schools=scope.all_schools, made_on_host=True
            )
            session.add(operator)
            session.flush()
            for school_id in scope.school_ids:
                session.connection().exec_driver_sql(
                    "INSERT INTO operator_school VALUES (%s, %s)", (operator.id, school_id)
                )
            issued = credentials.open_session(session, operator.id)
            if token:
                issued = credentials.create_token(session, operator.id, label="x", lifetime=credentials.LONGEST_TOKEN)
        return Api(TestClient(app, headers={"Authorization": f"Bearer {issued.secret}"}), name)

    return make


@pytest.fixture
def sql(database: str):
    """Run one statement of hand-written SQL, as time and tablets would act: `sql("UPDATE …")`."""

    def run(statement: str) -> list:
        with db.engine().begin() as connection:
            answer = connection.exec_driver_sql(statement)
            return answer.all() if answer.returns_rows else []

    return run
