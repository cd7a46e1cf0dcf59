"""The identity of a tablet is renewed under way, without being taken for a new enrolment."""

import plistlib

import pytest

from mdm.jobs import Job
from simulator.tablets.behaviour import Behaviour
from simulator.tablets.cms import Signer
from simulator.tablets.ipad import IPad
from simulator.tablets.journal import Event
from tests.journeys.district import District

pytestmark = pytest.mark.timeout(300)  # the first journey waits for the servers to start


def status_under(district: District, tablet: IPad, signer: Signer) -> int:
    """Return what the door answers to an Idle of this tablet that is signed with `signer`."""
    assert tablet.enrollment is not None
    url = tablet.enrollment.profile.server_url
    message = {"Status": "Idle", "UDID": tablet.device.udid}
    response = district.town.do(tablet._line.send(url, message, signer=signer, signed=True, epoch=0, faults=False))
    return response.status


@pytest.mark.parametrize("early", [False, True], ids=["acknowledged after", "acknowledged before"])
def test_a_renewed_identity_keeps_the_enrolment_and_shuts_the_old_one_out(district: District, early: bool):
    """Half-way through its life the certificate is replaced; policy, epoch and lost mode stay; the old one is void."""
    (device,) = district.school(1)
    tablet = district.enroll(device, Behaviour(returns_after_s=0.3, acknowledges_before_renewal=early))
    code = district.school_of(device)
    district.give(code, usb={"external_storage": "deny"})
    district.until_state(district.order(tablet, "lost_mode_on", message="m"), "done")
    district.until(lambda: len(tablet.device.profiles) == 1, "the policy")
    assert tablet.enrollment is not None
    old = tablet.enrollment.signer
    district.sql("UPDATE device_identity SET renew_at = now() WHERE sha256 = sha256(%s)", old.der)
    district.hint(Job.UPKEEP)
    district.until(lambda: bool(tablet.journal.of(Event.RENEWED)), "renewed")
    assert tablet.enrollment.signer.der != old.der
    on = district.order(tablet, "inventory_security")
    district.until_state(on, "done")
    shown = district.device(device.serial)["enrollment"]
    assert (shown["epoch"], shown["status"], shown["lost_mode"]) == (1, "active", True)
    assert len(tablet.journal.of(Event.EXECUTED, "InstallProfile")) == 2  # the policy once, the renewal once
    assert status_under(district, tablet, old) == 400
    assert status_under(district, tablet, tablet.enrollment.signer) == 200
    renewals = district.sql(
        "SELECT c.state FROM command c JOIN device d ON d.id = c.device_id"
        " WHERE d.serial = %s AND c.kind = 'renew_identity'",
        device.serial,
    )
    assert renewals == [("done",)]


def test_the_certificate_of_one_tablet_opens_nothing_for_another(district: District):
    """A valid identity with another tablet's UDID is refused."""
    mine, other = (district.enroll(device) for device in district.school(2))
    assert mine.enrollment is not None
    assert other.enrollment is not None
    assert status_under(district, mine, other.enrollment.signer) == 400


def test_a_captured_signature_with_another_body_is_refused(district: District):
    """What was signed for one message is worth nothing for another."""
    tablet = district.enroll(district.school(1)[0])
    assert tablet.enrollment is not None
    signature = district.signature(tablet, {"Status": "Idle", "UDID": tablet.device.udid})
    body = plistlib.dumps({"Status": "Idle", "UDID": tablet.device.udid, "More": 1})
    answer = district.town.do(
        district.town.fleet.client.request(
            "PUT", tablet.enrollment.profile.server_url, headers={"Mdm-Signature": signature}, body=body
        )
    )
    assert answer.status == 400
