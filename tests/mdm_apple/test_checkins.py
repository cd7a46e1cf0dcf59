"""Arrival, address, farewell: who gets in, what a new epoch forgets, and what a renewal or a replay leaves alone."""

import base64
from typing import Any

import pytest

from mdm import vault
from tests.mdm_apple.district import District, Tablet


def refusals(district: District) -> list[str]:
    """The refusals on record."""
    rows = district.all("SELECT details->>'detail' FROM audit_event WHERE action = 'enrollment.refuse' ORDER BY id")
    return [detail for (detail,) in rows]


def test_a_tablet_enrolls_and_is_asked_for_its_inventory(district: District) -> None:
    """Authenticate is not enough; the first TokenUpdate makes it active, due, and asked."""
    tablet = district.tablet()
    assert (tablet.authenticate().status, district.enrollment(tablet, "status")) == (200, "pending")
    assert tablet.idle().body == b""
    assert (tablet.token_update().status, district.enrollment(tablet, "status")) == (200, "active")
    assert district.enrollment(tablet, "epoch") == 1
    assert vault.unseal("enrollment.push_magic", district.enrollment(tablet, "push_magic")) == b"MAGIC-1"
    assert district.is_due(tablet)
    asked = []
    answer = tablet.idle()
    while answer.body:
        asked.append(answer.request_type)
        answer = tablet.report("Acknowledged", answer.command_id)
    assert asked == ["DeviceInformation", "SecurityInfo", "InstalledApplicationList", "ProfileList"]
    actions = [action for (action,) in district.all("SELECT action FROM audit_event ORDER BY id")]
    assert actions == ["enrollment.begin", "enrollment.complete"]


@pytest.mark.parametrize("state", ["lost", "retired"])
def test_a_lost_or_retired_tablet_does_not_get_in(district: District, state: str) -> None:
    """403, and on record once, however often it tries."""
    tablet = district.tablet(state=state)
    assert [tablet.authenticate().status for _ in range(3)] == [403, 403, 403]
    assert refusals(district) == [f"The ledger says that this tablet is {state}."]
    assert district.enrollment(tablet, "status") == "absent"


def test_a_serial_that_is_not_in_the_ledger_does_not_get_in(district: District) -> None:
    """With a staging ticket; the setting is on by default."""
    certificate = district.authority.issue()
    district.register(certificate, school=district.school)
    stray = Tablet(district.client, "NOTOURS", "00008030-AAAA", certificate, 0)
    assert stray.authenticate().status == 403
    assert refusals(district) == ["The serial number is not in the ledger."]


def test_a_staging_certificate_takes_one_tablet_of_its_school(district: District) -> None:
    """It binds to the first tablet that uses it, and to no tablet of another school."""
    elsewhere = district.one("INSERT INTO school (code, name) VALUES ('S2', 'South') RETURNING id")
    mine, other, foreign = district.tablet(), district.tablet(), district.tablet(school=elsewhere)
    certificate = district.authority.issue()
    district.register(certificate, school=district.school)
    for tablet in (mine, other, foreign):
        tablet.certificate = certificate
    assert foreign.authenticate().status == 403
    assert mine.authenticate().status == 200
    assert other.authenticate().status == 400
    assert mine.token_update().status == 200
    assert refusals(district) == [
        "The ledger places this tablet in another school than the ticket.",
        "The certificate belongs to another tablet.",
    ]


def test_a_certificate_of_a_ticket_must_match_the_serial(district: District) -> None:
    """Another's serial, none at all, or another tablet's UDID: 400."""
    tablet, victim = district.tablet(), district.enrolled()
    assert tablet.authenticate(SerialNumber=victim.serial).status == 400
    assert tablet.authenticate(SerialNumber="").status == 400
    assert tablet.authenticate(UDID=victim.udid).status == 400
    assert victim.idle().status == 200
    assert len(refusals(district)) == 3


def test_a_new_enrolment_begins_a_new_epoch(district: District) -> None:
    """What was open is dropped, a wipe that was handed over is proved, the old certificate opens nothing."""
    tablet = district.enrolled()
    district.desire(tablet, {"a": b"A"})
    profile = tablet.idle()
    tablet.report("Acknowledged", profile.command_id)
    wipe = district.approved_wipe(tablet)
    assert tablet.idle().request_type == "EraseDevice"
    queued = district.order(tablet, "restart")
    held = district.order(tablet, "wipe", state="held")
    old = tablet.certificate
    tablet.certificate = district.authority.issue()
    district.register(tablet.certificate, device_id=tablet.device_id)
    tablet.enroll()
    assert [district.state(each) for each in (wipe, queued, held)] == ["done", "cancelled", "cancelled"]
    assert district.enrollment(tablet, "epoch") == 2
    assert district.enrollment(tablet, "installed_manifest") is None
    assert district.enrollment(tablet, "desired_stale") is True
    assert district.one("SELECT count(*) FROM device_profile") == 0
    assert tablet.idle().request_type == "DeviceInformation"
    assert tablet.report("Acknowledged", str(queued)).status == 200
    assert district.state(queued) == "cancelled"
    tablet.certificate = old
    assert tablet.idle().status == 400
    assert tablet.check_out().status == 400


def test_a_repeated_or_replayed_authenticate_clears_nothing(district: District) -> None:
    """The same certificate once more keeps the epoch, the token and what is open."""
    tablet = district.enrolled()
    command_id = district.order(tablet, "restart")
    assert tablet.authenticate().status == 200
    assert (district.enrollment(tablet, "epoch"), district.enrollment(tablet, "status")) == (1, "active")
    assert tablet.idle().command_id == str(command_id)


def test_a_renewal_keeps_everything_but_the_address(district: District) -> None:
    """Epoch, commands, lost mode and profiles stay; after its first TokenUpdate the old certificate opens nothing."""
    tablet = district.enrolled()
    district.connection.execute("UPDATE enrollment SET lost_mode = true")
    command_id = district.order(tablet, "locate", lane=0)
    old, new = tablet.certificate, district.authority.issue()
    district.register(new, device_id=tablet.device_id, renewal=True)
    tablet.certificate = new
    assert tablet.authenticate().status == 200
    tablet.certificate = old  # both hold until the new one has given its address
    assert tablet.idle().command_id == str(command_id)
    assert tablet.token_update(Token=b"\x01" * 32).status == 200
    tablet.certificate = new
    assert tablet.token_update(Token=b"\x02" * 32, PushMagic="MAGIC-2").status == 200
    assert district.enrollment(tablet, "epoch") == 1
    assert district.enrollment(tablet, "lost_mode") is True
    assert bytes(district.enrollment(tablet, "push_token")) == b"\x02" * 32
    assert tablet.idle().command_id == str(command_id)
    tablet.certificate = old
    assert tablet.idle().status == 400


def test_a_lost_tablet_that_renews_its_identity_stays_within_reach(district: District) -> None:
    """It does not want in, it is in: a refusal would unenrol the one tablet that must be found."""
    tablet = district.enrolled()
    district.connection.execute("UPDATE device SET state = 'lost'")
    assert tablet.authenticate().status == 200
    tablet.certificate = district.authority.issue()
    district.register(tablet.certificate, device_id=tablet.device_id, renewal=True)
    tablet.enroll()
    command_id = district.order(tablet, "lost_mode_on", lane=0)
    assert tablet.idle().command_id == str(command_id)
    tablet.certificate = district.authority.issue()
    district.register(tablet.certificate, device_id=tablet.device_id)
    assert tablet.authenticate().status == 403


def test_an_unlock_token_is_never_lost(district: District) -> None:
    """It comes once in a while; its absence, and even a new enrolment, leave the stored one alone."""
    tablet = district.enrolled()
    assert tablet.token_update(UnlockToken=b"secret", AwaitingConfiguration=True).status == 200
    assert tablet.token_update(Token=b"\x07" * 32).status == 200
    assert tablet.token_update(UnlockToken=b"").status == 200
    assert vault.unseal("enrollment.unlock_token", district.enrollment(tablet, "unlock_token")) == b"secret"
    assert district.enrollment(tablet, "awaiting_configuration") is True
    assert b"secret" not in bytes(district.enrollment(tablet, "unlock_token"))


def test_a_token_update_repairs_a_dead_address(district: District) -> None:
    """Only the tablet itself can."""
    tablet = district.enrolled()
    district.connection.execute("UPDATE enrollment SET unreachable_since = now()")
    tablet.token_update(Token=b"\x09" * 32)
    assert district.enrollment(tablet, "unreachable_since") is None


def test_a_tablet_that_left_comes_back_by_a_new_ticket_only(district: District) -> None:
    """A replay of its old Authenticate revives nothing."""
    tablet = district.enrolled()
    command_id = district.order(tablet, "restart")
    assert tablet.check_out().status == 200
    assert (district.enrollment(tablet, "status"), district.state(command_id)) == ("ended", "cancelled")
    assert tablet.authenticate().status == 400
    tablet.certificate = district.authority.issue()
    district.register(tablet.certificate, device_id=tablet.device_id)
    tablet.enroll()
    assert district.enrollment(tablet, "epoch") == 2


def test_refusals_and_answers_hold_no_secret(district: District) -> None:
    """Neither magic nor token is echoed or put on record."""
    tablet = district.tablet()
    answer = tablet.token_update(PushMagic="VERY-SECRET-MAGIC")
    assert answer.status == 400
    tablet.enroll()
    everything: Any = district.all("SELECT actor, action, subject, details::text FROM audit_event")
    for secret in ("MAGIC", base64.b64encode(bytes(32)).decode()):
        assert secret not in answer.body.decode()
        assert secret not in str(everything)
