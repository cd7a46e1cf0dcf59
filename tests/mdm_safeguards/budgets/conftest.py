"""A district of three schools with enrolled tablets, and operators who are signed in to the real operator app."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role, credentials
from mdm.auth.models import Operator, OperatorSchool
from mdm.devices.models import Device, Enrollment, EnrollmentStatus
from mdm.organization.models import School
from tests.mdm_safeguards.budgets.people import Person
from tests.signer import Signer

LONG_AGO = datetime.now(UTC) - timedelta(days=400)


@pytest.fixture
def schools(session: Any) -> dict[str, int]:
    rows = [School(code=code, name=f"School {code}") for code in ("E1", "E2", "E3", "E4")]
    session.add_all(rows)
    session.commit()
    return {row.code: row.id for row in rows}


@pytest.fixture
def tablets(session: Any, schools: dict[str, int]) -> dict[str, list[int]]:
    """Fifteen supervised tablets in each school, by its code."""
    found: dict[str, list[int]] = {}
    for code, school_id in schools.items():
        devices = [
            Device(control_number=f"{code}-{n}", serial=f"S{code}{n:03}", platform="apple", school_id=school_id)
            for n in range(15)
        ]
        session.add_all(devices)
        session.flush()
        for device in devices:
            facts = {"status": EnrollmentStatus.ACTIVE, "epoch": 1, "supervised": True, "udid": f"u-{device.serial}"}
            session.add(Enrollment(device_id=device.id, **facts))
        found[code] = [device.id for device in devices]
    session.commit()
    return found


@pytest.fixture
def sign_in(schools: dict[str, int]) -> Iterator[Callable[..., Person]]:
    """Sign a new operator in: `sign_in("boss")`, `sign_in("hana", Role.SUPPORT, school="E1", token=True)`."""
    app = operator_app()
    opened: list[TestClient] = []

    def make(
        name: str,
        role: Role = Role.ADMINISTRATOR,
        *,
        school: str | None = None,
        token: bool = False,
        created_at: datetime = LONG_AGO,
    ) -> Person:
        with db.transaction() as own:
            operator = Operator(
                name=name, password_hash="", role=role, all_schools=school is None, created_at=created_at
            )
            own.add(operator)
            own.flush()
            if school is not None:
                own.add(OperatorSchool(operator_id=operator.id, school_id=schools[school]))
            signer = Signer(name).pinned_by(own.connection().connection.driver_connection)
            issued = credentials.open_session(own, operator.id)
            if token:
                issued = credentials.create_token(own, operator.id, label="x", lifetime=credentials.LONGEST_TOKEN)
        client = TestClient(app, headers={"Authorization": f"Bearer {issued.secret}"})
        opened.append(client)
        return Person(client, operator.id, signer)

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def sql(database: str) -> Callable[[str], list[Any]]:
    """Run one statement of hand-written SQL, as time would act."""

    def run(statement: str) -> list[Any]:
        with db.engine().begin() as connection:
            answer = connection.execute(text(statement))
            return list(answer.all()) if answer.returns_rows else []

    return run


@pytest.fixture
def loosen(sql: Callable[[str], list[Any]]) -> Callable[[str, int], None]:
    """Set a threshold past the rules, for tests of something else."""

    def set_to(name: str, value: int) -> None:
        sql(
            "INSERT INTO safeguard_threshold (name, value, set_by, reason)"
            f" VALUES ('{name}', {value}, 'operator:test', '')"
        )

    return set_to
