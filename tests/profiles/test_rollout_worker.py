"""The worker that brings rollouts forward: in pieces, two at once, and beside operators who start others."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from mdm import db
from mdm.devices.models import Lane
from profiles import rollouts
from profiles.models import RolloutState
from profiles.rollouts.release import AT_ONCE
from tests.profiles.rolling import SECTIONS, SWIFT, apply, show, start
from workers.rollouts import bring_forward, catch_up

CROWD = 2 * AT_ONCE + 100


def more(session, school, letter, size):
    """Put enrolled tablets into a school."""
    session.execute(
        text(
            "WITH made AS (INSERT INTO device"
            " (control_number, serial, platform, model, school_id, lease_contract, state)"
            " SELECT :letter || n, :letter || n, 'apple', '', :school, '', 'issued'"
            " FROM generate_series(1, :size) AS n RETURNING id)"
            " INSERT INTO enrollment (device_id, status, supervised, os_version, product)"
            " SELECT id, 'active', true, '26.1', '' FROM made"
        ),
        {"school": school, "letter": letter, "size": size},
    )


@pytest.fixture
def crowd(district, session):
    """More tablets than two transactions tell."""
    more(session, district.schools["0102"], "M", CROWD)
    apply(district, usb=SECTIONS[1])
    session.commit()


def counted(session, what):
    session.expire_all()
    return session.execute(text(what)).scalar_one()


@pytest.mark.usefixtures("crowd")
def test_two_workers_and_an_operator_at_once_tell_everybody_once(district, session):
    """Each tablet is told by one of them; the class's own policy, started in the middle, holds where it speaks."""
    shown = start(district, waves={"kind": "at_once"}, thresholds=SWIFT)
    assert counted(session, "SELECT count(*) FROM wakeup") == 0
    apply(district, "six-one", {"class": "0101/6/1"}, web_filter={"adult_filter": True})
    session.commit()
    gate = threading.Barrier(3)

    def work():
        gate.wait(timeout=10)
        return bring_forward()["tablets"]

    def begin():
        gate.wait(timeout=10)
        with db.transaction() as own:
            return rollouts.start(own, district.principal, policy="six-one", target="fleet").id

    with ThreadPoolExecutor(3) as pool:
        told = [pool.submit(work), pool.submit(work)]
        assert pool.submit(begin).result(timeout=60)
        assert sum(each.result(timeout=60) for each in told) + bring_forward()["tablets"] == CROWD + 4
    assert counted(session, "SELECT count(*) FROM rollout_target WHERE released_at IS NULL") == 0
    assert counted(session, "SELECT count(*) FROM wakeup") == CROWD + 4
    of_the_crowd = "JOIN device d ON d.id = w.device_id WHERE d.serial LIKE 'M%'"
    assert counted(session, f"SELECT max(w.generation) FROM wakeup w {of_the_crowd}") == 1, "nobody was planned twice"
    assert counted(session, "SELECT count(DISTINCT desired_manifest) FROM enrollment") == 2
    assert counted(session, f"SELECT count(*) FROM wakeup WHERE lane = {int(Lane.BULK)}") >= CROWD
    assert show(district, shown.id).counts["pending"] == CROWD + 4


@pytest.mark.usefixtures("crowd")
def test_a_worker_without_time_leaves_the_rest_to_the_next(district, session):
    """A pause holds in the middle of a wave, and a roll back takes back from those who were told."""
    shown = start(district, waves={"kind": "at_once"}, thresholds=SWIFT)
    step = rollouts.Step()
    with db.transaction() as own:
        assert step.take(own) == AT_ONCE
    assert bring_forward(budget_s=0)["tablets"] == 0
    with db.transaction() as own:
        rollouts.pause(own, district.principal, shown.id, reason="because")
    assert bring_forward()["tablets"] == 0
    assert counted(session, "SELECT count(*) FROM wakeup WHERE closes_at <= now()") == AT_ONCE
    with db.transaction() as own:
        rollouts.roll_back(own, district.principal, shown.id, reason="because")
    assert bring_forward()["tablets"] == AT_ONCE
    assert bring_forward()["tablets"] == 0
    found = show(district, shown.id)
    assert (found.state, found.restored.asked) == (RolloutState.ROLLED_BACK, AT_ONCE)


@pytest.mark.usefixtures("crowd")
def test_a_rollout_that_cannot_be_told_holds_no_other_up(district, session):
    """A revision that cannot be read any more leaves its tablets where they were; another school's rollout goes on."""
    more(session, district.schools["0101"], "N", 120)
    apply(district, "of-0102", {"school": "0102"}, web_filter={"adult_filter": True})
    broken = start(district, "school=0102", policy="of-0102", waves={"kind": "at_once"}, thresholds=SWIFT)
    session.execute(
        text(
            "UPDATE policy_revision r SET document = '{}', sha256 = '\\x01' FROM policy p"
            " WHERE p.id = r.policy_id AND p.name = 'of-0102'"
        )
    )
    apply(district, "of-0101", {"school": "0101"}, web_filter={"adult_filter": True})
    sound = start(district, "school=0101", policy="of-0101", waves={"kind": "at_once"}, thresholds=SWIFT)
    reached = bring_forward()["tablets"]
    assert reached >= 120
    told = "SELECT count(*) FROM rollout_target WHERE released_at IS NOT NULL AND rollout_id = "
    assert counted(session, f"{told} '{sound.id}'") == reached
    assert counted(session, f"{told} '{broken.id}'") == 0
    assert counted(session, f"SELECT state FROM rollout WHERE id = '{broken.id}'") == RolloutState.RUNNING


@pytest.mark.usefixtures("crowd")
def test_stale_tablets_are_recomputed_in_pieces_until_none_is_left(district, session):
    """An import that moved thousands does not make one transaction of them."""
    start(district, waves={"kind": "at_once"}, thresholds=SWIFT)
    bring_forward()
    session.execute(text("UPDATE enrollment SET desired_stale = true, desired_manifest = NULL"))
    session.commit()
    assert catch_up() == CROWD + 4
    assert counted(session, "SELECT count(*) FROM enrollment WHERE desired_stale") == 0
