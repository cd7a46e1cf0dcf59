"""While an approved wipe is held, those who could stop it are told, and how."""

from datetime import UTC, datetime, timedelta

import pytest

from mdm.auth import Role
from mdm.settings import get_settings
from tests.mailserver import MailServer
from workers import notices


@pytest.fixture
def mail(district, monkeypatch):
    """A mail server that the settings name, with those on duty."""
    with MailServer() as server:
        told = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(server.port), "SMTP_TLS": "none"}
        told |= {"MAIL_FROM": "tabane@example.invalid", "MAIL_TO": '["duty@example.invalid"]'}
        for name, value in told.items():
            monkeypatch.setenv(f"TABANE_NOTICES__{name}", value)
        get_settings.cache_clear()
        yield server


def _approved(sign_in, tablet, *, urgent):
    hana, jiro = sign_in("hana"), sign_in("jiro")
    placed = hana.wipe(tablet)
    answer = jiro.approve(placed["approval_id"], urgent=urgent)
    assert answer.status_code == 200, answer.text
    return placed["command"]["id"], hana


def test_those_on_duty_and_the_school_are_told_and_can_cancel(district, sign_in, sql, mail):
    """One mail to both, which shows neither the other's address; what it names ends the wipe."""
    boss = sign_in("boss", Role.ADMINISTRATOR)
    for school, address in (("E1", "office@e1.example.invalid"), ("E2", "office@e2.example.invalid")):
        body = {"value": {"mail": address}, "school": school}
        assert boss.client.put("/api/v1/desk-settings/contact", json=body).status_code == 200
    command, hana = _approved(sign_in, district.tablets["a"], urgent=False)
    [(what, details)] = sql("SELECT what, details FROM notice")
    leaves_at = datetime.fromisoformat(details.pop("leaves_at")) - datetime.now(UTC)
    assert timedelta(minutes=9) < leaves_at <= timedelta(minutes=10)
    assert details.pop("cancel").startswith(f"tabane command cancel {command};")
    assert (what, details) == ("wipe.held", {"school": "E1", "command": command, "kind": "wipe"})
    assert notices.send_due() == {"sent": 1}
    to = [line.casefold() for line in mail.told if line.casefold().startswith("rcpt to:")]
    assert to == ["rcpt to:<duty@example.invalid>", "rcpt to:<office@e1.example.invalid>"]
    written = "\n".join(mail.told[mail.told.index("data") if "data" in mail.told else mail.told.index("DATA") :])
    assert "office@" not in written
    assert "SERIALA" not in written
    assert hana.post(f"/commands/{command}/cancel").status_code == 200
    assert hana.state(command) == "cancelled"


def test_without_an_address_those_on_duty_are_told_alone(district, sign_in, mail):
    """A school that has no address is no reason to tell nobody."""
    _approved(sign_in, district.tablets["far"], urgent=False)
    assert notices.send_due() == {"sent": 1}
    assert len([line for line in mail.told if line.casefold().startswith("rcpt to:")]) == 1


def test_what_does_not_wait_is_not_told(district, sign_in, sql):
    """An urgent wipe leaves at once: there is nothing left to cancel."""
    _approved(sign_in, district.tablets["a"], urgent=True)
    assert sql("SELECT 1 FROM notice") == []


@pytest.mark.parametrize("address", ["office", "a@b, c@d", "a b@c", "a@b\r\nBcc: c@d", "<a@b>", "", "a@" + "b" * 254])
def test_only_an_address_is_taken(district, sign_in, address):
    """One address, and nothing that would change a mail's head."""
    boss = sign_in("boss", Role.ADMINISTRATOR)
    answer = boss.client.put("/api/v1/desk-settings/contact", json={"value": {"mail": address}, "school": "E1"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/value/mail")
