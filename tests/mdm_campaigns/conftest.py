"""Returned tablets that were scanned, a board and its contractor with pinned keys, and time that can be moved."""

from datetime import datetime, timedelta

import pytest
from starlette.testclient import TestClient

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role, credentials
from mdm.auth.models import Operator
from mdm.organization.hours import JST
from mdm.settings import get_settings
from tests.mdm_commands.conftest import Api, district, sign_in, sql
from tests.signer import _hash, challenge, digest, encode
from tests.tampering import tamper
from workers import campaigns, sender

__all__ = ["district", "sign_in", "sql"]

TODAY = datetime.now(JST).date()
ANY_TIME = {
    "first_day": str(TODAY - timedelta(days=3)),
    "last_day": str(TODAY + timedelta(days=9)),
    "hours": "00:00-24:00",
    "weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
}
NUMBERS = [f"R{number:03}" for number in range(1, 13)]


@pytest.fixture
def returned(district, sql):
    """Twelve tablets of school E1 that are returned and enrolled, `R001` to `R012`; ids by control number."""
    for number in NUMBERS:
        sql(
            "INSERT INTO device (control_number, serial, platform, model, school_id, lease_contract, state)"
            f" VALUES ('{number}', 'SER{number}', 'apple', '', {district.schools['E1']}, 'L2022', 'returned')"
        )
    sql(
        "INSERT INTO enrollment (device_id, status, epoch, supervised, udid) SELECT id, 'active', 1, true, serial"
        " FROM device WHERE state = 'returned'"
    )
    return dict(sql("SELECT control_number, id FROM device WHERE state = 'returned' ORDER BY id"))


@pytest.fixture
def boss(sign_in):
    """The administrator who asks."""
    return sign_in("boss", Role.ADMINISTRATOR)


@pytest.fixture
def take_stock(boss, valkey):
    """Check returned tablets and scan these; return the check's id."""

    def run(*numbers: str, states=("returned",)) -> str:
        days = {"first_day": str(TODAY), "last_day": str(TODAY + timedelta(days=9))}
        plan = {"name": "棚卸", "states": list(states), "by_hand": list(states), **days}
        check = boss.post("/checks", plan)
        assert check.status_code == 201, check.text
        path = f"/checks/{check.json()['id']}"
        assert boss.post(f"{path}/start").status_code == 200
        scanned = boss.post(f"{path}/scans", {"control_numbers": list(numbers)})
        assert scanned.status_code == 200, scanned.text
        return check.json()["id"]

    return run


@pytest.fixture
def stock(returned, take_stock):
    """All twelve are scanned; the check's id."""
    return take_stock(*NUMBERS)


class Signing(Api):
    """A signed-in person who signs campaigns, with a key that the host has pinned, as docs/campaigns.md has it."""

    def sign(self, campaign_id: str, **changes):
        if not self.signer.id:
            self.signer.pinned(get_settings().database_url)
        shown = self.get(f"/campaigns/{campaign_id}").json()
        lines = []
        while True:
            page = self.get(f"/campaigns/{campaign_id}/tablets").json()
            lines += page["items"]
            if page["next"] is None:
                break
        names = ("id", "serial", "control_number", "school", "epoch", "evidence", "scanned_at")
        snapshot = _hash(["tabane.snapshot.1", *({name: each[name] for name in names} for each in lines)])
        subject = shown["subject"] | {"snapshot": snapshot.hex(), "tablets": len(lines)}
        until = datetime.fromisoformat(shown["expires_at"])
        signed = digest("campaign.wipe", subject, shown["reason"], shown["requested_by_id"], until)
        signature = encode(self.signer.key.sign(challenge(signed, self.name, urgent=False)))
        return self.post(f"/campaigns/{campaign_id}/approve", {"key": self.signer.id, "signature": signature} | changes)


@pytest.fixture
def board(sign_in):
    """Somebody else of the board."""
    api = sign_in("mieko", Role.ADMINISTRATOR)
    return Signing(api.client, api.name)


@pytest.fixture
def company(district, sql):
    """Make a person of a contractor or sub-contractor and sign in: `company("kenji")`."""

    def make(name: str, tier: str = "contractor", role: Role = Role.SUPERVISION, schools=None) -> Signing:
        sql("INSERT INTO organization (name, tier) VALUES ('board', 'board') ON CONFLICT DO NOTHING")
        parent = "board"
        for each in ("contractor", "subcontractor"):
            sql(
                "INSERT INTO organization (name, tier, parent_id, consent_document, consent_on)"
                f" SELECT '{each}', '{each}', id, 'd', '2026-01-01' FROM organization WHERE name = '{parent}'"
                " ON CONFLICT DO NOTHING"
            )
            sql(
                "INSERT INTO contract (organization_id, starts_on, ends_on, duties, document, recorded_by) SELECT id,"
                " '2020-01-01', '2100-01-01', '{supervision,loss_desk}', 'd', 'host' FROM organization"
                f" WHERE name = '{each}'"
            )
            parent = each
        handler = sql(
            "INSERT INTO handler (organization_id, kind, label, name_sealed, duties, valid_from, notice_on)"
            f" SELECT id, 'handler', '{name}', 'x', '{{{role.value}}}', '2020-01-01', '2020-01-01' FROM organization"
            f" WHERE name = '{tier}' RETURNING id, organization_id"
        )[0]
        with db.transaction() as session:
            operator = Operator(
                name=name,
                password_hash="",
                role=role,
                all_schools=schools is None,
                made_on_host=True,
                handler_id=handler[0],
                organization_id=handler[1],
            )
            session.add(operator)
            session.flush()
            for school in schools or ():
                session.connection().exec_driver_sql(
                    "INSERT INTO operator_school VALUES (%s, %s)", (operator.id, district.schools[school])
                )
            secret = credentials.open_session(session, operator.id).secret
        client = TestClient(operator_app(), headers={"Authorization": f"Bearer {secret}"})
        return Signing(client, name)

    return make


@pytest.fixture
def contractor(company):
    """The contractor's supervision."""
    return company("kenji")


@pytest.fixture
def small(sql):
    """Waves of 2, 3 and 4, and no cooling time."""
    for name, value in (("wave.1", 2), ("wave.2", 3), ("wave.3", 4), ("cooling_hours", 0)):
        sql(
            "INSERT INTO safeguard_threshold (name, value, set_by, reason)"
            f" VALUES ('campaign.{name}', {value}, 'host', '')"
        )


@pytest.fixture
def ask(boss):
    """Ask for a bulk wipe of the lease, or as told; return the answer."""

    def run(by=None, **changes):
        body = {"name": "リース満了", "filter": {"lease_contract": "L2022"}, "window": ANY_TIME, "reason": "the end"}
        return (by or boss).post("/campaigns", body | changes)

    return run


@pytest.fixture
def requested(stock, ask):
    """A campaign over all twelve that nobody has signed; its id."""
    answer = ask()
    assert answer.status_code == 201, answer.text
    assert answer.json()["tablets"] == 12
    return answer.json()["id"]


@pytest.fixture
def approved(requested, board, contractor):
    """The same, signed by both."""
    for each in (board, contractor):
        answer = each.sign(requested)
        assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "approved"
    return requested


class Campaign:
    """A campaign from outside: the two jobs, the tablets' answers, time."""

    def __init__(self, boss, sql, campaign_id: str) -> None:
        self.boss, self.sql, self.id = boss, sql, campaign_id

    def round(self) -> dict[str, int]:
        """Have the job write down what may leave, and the sender look."""
        campaigns.bring_forward()
        return {name: number for name, number in sender.look().items() if number}

    def shown(self) -> dict:
        return self.boss.get(f"/campaigns/{self.id}").json()

    def counts(self) -> dict[str, int]:
        campaigns.bring_forward()
        return {state: number for state, number in self.shown()["counts"].items() if number}

    def tablets(self) -> dict[str, tuple[str, str]]:
        campaigns.bring_forward()
        lines = self.boss.get(f"/campaigns/{self.id}/tablets").json()["items"]
        return {each["control_number"]: (each["state"], each["reason"]) for each in lines}

    def answer(self, state: str = "done", most: int = 99) -> None:
        """Have tablets do what was sent."""
        self.sql(
            f"UPDATE command SET state = '{state}', sent_at = now(), delivered_at = now(), ended_at = now()"
            f" WHERE id IN (SELECT id FROM command WHERE kind = 'wipe' AND state = 'queued' ORDER BY id LIMIT {most})"
        )

    @staticmethod
    def pass_time(minutes: int = 60) -> None:
        """Move all that has happened back, past the triggers."""
        by = f"interval '{minutes} minutes'"
        tamper(
            f"UPDATE class_a_release SET at = at - {by}",
            f"UPDATE campaign_signature SET signed_at = signed_at - {by}",
            f"UPDATE campaign SET requested_at = requested_at - {by}",
            f"UPDATE approver_key SET pinned_at = pinned_at - {by}",
            f"UPDATE safeguard_threshold SET set_at = set_at - {by}",
            f"UPDATE command SET sent_at = sent_at - {by}, delivered_at = delivered_at - {by}",
        )


@pytest.fixture
def campaign(approved, boss, sql):
    """An approved campaign."""
    return Campaign(boss, sql, approved)
