"""Two schools with tablets of every kind, operators of either or both, and a clock that stands where a test puts it."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from mdm import vault
from mdm.checks import closing, escalation, evidence, plans, report_endpoints, starting
from mdm.checks.models import CheckState
from mdm.devices.models import Device, Enrollment, EnrollmentStatus
from mdm.organization.models import Holder, School, SchoolClass
from tests.people import signing_in
from workers import checks as job

NOW = datetime(2026, 4, 13, 1, 0, tzinfo=UTC)
"""10:00 on Monday, 13 April 2026, in Japan."""
FLEET = {
    # control number: school, class, ledger state, days since its last check-in
    "A01": ("E1", "1", "issued", 1),
    "A02": ("E1", "1", "issued", 90),
    "A03": ("E1", "2", "issued", None),
    "A04": ("E1", None, "stock", 2),
    "A05": ("E1", None, "repair", 5),
    "A06": ("E1", "2", "lost", 0),
    "A07": ("E1", None, "returned", 9),
    "B01": ("E2", "1", "issued", 3),
    "B02": ("E2", None, "stock", None),
    "B03": ("E2", None, "retired", 400),
}


class Time:
    """The clock of the room; sessions live by the real one."""

    def __init__(self):
        self.now = NOW

    def go(self, **by):
        self.now += timedelta(**by)


@pytest.fixture
def time(monkeypatch):
    standing = Time()
    stopped = SimpleNamespace(now=lambda: standing.now)
    for room in (closing, escalation, evidence, plans, report_endpoints, starting):
        monkeypatch.setattr(room, "clock", stopped)
    return standing


@pytest.fixture
def schools(session):
    rows = [School(code=code, name=f"School {code}") for code in ("E1", "E2")]
    session.add_all(rows)
    session.commit()
    return {row.code: row.id for row in rows}


@pytest.fixture
def fleet(session, schools, time):
    """Return the ids of `FLEET` by control number."""
    classes = {}
    for code, name in {(school, name) for school, name, _, _ in FLEET.values() if name}:
        classes[code, name] = SchoolClass(school_id=schools[code], year=3, name=name)
    session.add_all(classes.values())
    session.flush()
    ids = {}
    for number, (code, name, state, days) in FLEET.items():
        holder = None
        if name is not None:
            holder = Holder(
                school_id=schools[code],
                class_id=classes[code, name].id,
                user_id=f"p-{number.lower()}",
                name_sealed=vault.seal("holder.name", f"Hidden {number}".encode()),
            )
            session.add(holder)
            session.flush()
        device = Device(
            control_number=number,
            serial=f"ZZ{number}",
            platform="apple",
            school_id=schools[code],
            holder_id=holder and holder.id,
            state=state,
        )
        session.add(device)
        session.flush()
        seen = None if days is None else NOW - timedelta(days=days)
        status = EnrollmentStatus.ABSENT if days is None else EnrollmentStatus.ACTIVE
        session.add(Enrollment(device_id=device.id, status=status, epoch=1, last_seen_at=seen))
        ids[number] = device.id
    session.commit()
    return ids


@pytest.fixture
def speak(session, time):
    """Have tablets check in now, as the door writes it down."""

    def now(*numbers):
        session.execute(
            text(
                "UPDATE enrollment e SET last_seen_at = :now, status = 'active' FROM device d"
                " WHERE d.id = e.device_id AND d.control_number = ANY(:numbers)"
            ),
            {"now": time.now, "numbers": list(numbers)},
        )
        session.commit()

    return now


@pytest.fixture
def set_state(session):
    def put(number, state):
        session.execute(
            text("UPDATE device SET state = :state WHERE control_number = :number"), {"state": state, "number": number}
        )
        session.commit()

    return put


@pytest.fixture
def api(schools, time):
    """Return a signed-in client of a new operator: `api("boss")`, `api("hana", school="E1")`."""
    with signing_in(schools) as sign_in:
        yield sign_in


PLAN = {"name": "所在確認 1学期", "first_day": "2026-04-13", "last_day": "2026-05-08"}


@pytest.fixture
def planned(api, fleet, valkey):
    """Plan a check as the board: `planned()`, `planned(schools=["E1"])`; returns its address."""
    boss = api("board")

    def plan(**more):
        answer = boss.post("/api/v1/checks", json=PLAN | more)
        assert answer.status_code == 201, answer.text
        return f"/api/v1/checks/{answer.json()['id']}"

    plan.api = boss
    return plan


@pytest.fixture
def running(planned):
    """Plan a check and start it; returns its address."""

    def begin(**more):
        path = planned(**more)
        answer = planned.api.post(f"{path}/start")
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == CheckState.RUNNING
        return path

    begin.api = planned.api
    return begin


@pytest.fixture
def bring_forward(session):
    """Do one round of the job."""

    def run():
        session.rollback()
        return dict(job.bring_forward())

    return run


def tasks(client, path, **filters):
    """Return the tablets of a check by control number."""
    page = client.get(f"{path}/tasks", params=filters).json()
    assert page["next"] is None
    return {line["control_number"]: line for line in page["items"]}


def outcomes(answer):
    """Return what became of each number that was handed in."""
    assert answer.status_code == 200, answer.text
    return [(line["control_number"], line["outcome"]) for line in answer.json()["lines"]]
