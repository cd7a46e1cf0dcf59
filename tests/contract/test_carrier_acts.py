"""The contract of a carrier's acts, run over every kind against its pretended service."""

import pytest

from mdm.cellular.carriers.switchboard import carrier_of
from mdm.cellular.carriers.values import Act, Refused, SimKey, Unreachable
from mdm.cellular.models import ActionKind, CarrierKind, SimStatus
from simulator.clouds.carrier_script import Fault, Mishap
from tests.contract.carriers import line_to


def test_every_act_it_claims_takes_effect_only_after_its_time(kind):
    """An act is a receipt; reading the line back shows it when the carrier has done it, and not before."""
    with line_to(kind, 3, status_takes_s=300) as line:
        connection = line.connection()
        key = line.all_sims(connection)[1].key
        acts = line.carrier.capabilities().acts
        for act in sorted(acts, key=[ActionKind.SUSPEND, ActionKind.RESUME, *ActionKind].index):
            before = line.carrier.sim(connection, key)
            line.carrier.act(connection, _act(line, act, key), idempotency_key="one")
            assert _seen(line.carrier.sim(connection, key)) == _seen(before)
            line.clock.passes(seconds=301)
            after = line.carrier.sim(connection, key)
            assert _seen(after) != _seen(before), act
            if act is ActionKind.SUSPEND:
                assert after.status is SimStatus.SUSPENDED
            if act is ActionKind.RESUME:
                assert after.status is SimStatus.ACTIVE
        assert len(line.cloud.orders) == len(acts)


def test_an_act_whose_answer_is_lost_is_open_and_reading_tells(line):
    """`Unreachable` leaves open whether it was done: one was and one was not, and the line itself says which."""
    connection = line.connection()
    first, second = (record.key for record in line.all_sims(connection)[:2])
    if ActionKind.SUSPEND not in line.carrier.capabilities().acts:
        pytest.skip("has no documented act to suspend")
    for key, mishap, done in ((first, Mishap.CUT, True), (second, Mishap.LOST, False)):
        line.cloud.script.faults = [Fault(mishap, times=1)]
        with pytest.raises(Unreachable):
            line.carrier.act(connection, Act(ActionKind.SUSPEND, key), idempotency_key="one")
        assert (line.carrier.sim(connection, key).status is SimStatus.SUSPENDED) is done


def test_an_act_it_does_not_claim_is_refused_without_asking(line):
    """What the interface has no documented call for is `Refused`, and nothing is sent."""
    missing = set(ActionKind) - line.carrier.capabilities().acts
    for kind in missing:
        with pytest.raises(Refused):
            line.carrier.act(line.connection(), Act(kind, SimKey("iccid", "0")), idempotency_key="one")
    assert missing
    assert not line.cloud.journal


def _act(line, kind, key):
    speeds = line.carrier.capabilities().speeds
    values = {ActionKind.SPEED: speeds[0] if speeds else "", ActionKind.PLAN: "another plan"}
    values[ActionKind.LOCK_IMEI] = line.cloud.lines.all[1].imei
    return Act(kind, key, values.get(kind, ""))


def _seen(record):
    return record.status, record.speed, record.plan, record.imei_lock


def test_an_account_of_files_has_no_interface():
    """Asking for the module of an account whose figures come in files is refused in words."""
    with pytest.raises(Refused, match="files"):
        carrier_of(CarrierKind.CSV)
