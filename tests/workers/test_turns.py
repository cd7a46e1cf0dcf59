"""Whose turn it is: schools that wait, leases by school, and what a lease given back leaves behind."""

import pytest
from sqlalchemy import text

from mdm.devices import turns, wakeups
from mdm.devices.models import Lane
from mdm.devices.turns import Turn


@pytest.fixture
def weigh(session):
    """Give tablets payloads and due times: (device, bytes, seconds ago)."""

    def set_(*facts):
        for device_id, payload, ago in facts:
            session.execute(
                text(
                    "UPDATE wakeup SET payload_bytes = :bytes, due_at = now() - make_interval(secs => :ago)"
                    " WHERE device_id = :id"
                ),
                {"id": device_id, "bytes": payload, "ago": ago},
            )
        session.commit()

    return set_


def school_of(session, device_id):
    return session.execute(text("SELECT school_id FROM device WHERE id = :id"), {"id": device_id}).scalar_one()


def claimed(session, *given):
    found = turns.claim(session, Lane.NORMAL, given, lease_s=60)
    session.rollback()
    return sorted(claim.device_id for claim in found)


def test_schools_wait_in_the_order_of_their_longest(fleet, due, weigh, session):
    """A school waits if one of its tablets can be woken now; the one that has waited longest comes first."""
    ids = fleet(4, schools=4).ids
    due(ids)
    weigh((ids[0], 0, 5), (ids[1], 0, 60), (ids[2], 0, -60), (ids[3], 0, 20))
    order = [school_of(session, ids[n]) for n in (1, 3, 0)]
    assert turns.waiting(session, Lane.NORMAL) == order
    assert turns.waiting(session, Lane.BULK) == []
    session.execute(text("UPDATE enrollment SET unreachable_since = now() WHERE device_id = :id"), {"id": ids[1]})
    turns.claim(session, Lane.NORMAL, [Turn(order[1], 9)], lease_s=60)
    assert turns.waiting(session, Lane.NORMAL) == order[2:]


def test_each_school_gives_what_it_may(fleet, due, weigh, session):
    """So many of each, longest due first; bytes in all, the first whatever it weighs; only what is below a size."""
    ids = fleet(8, schools=2).ids
    due(ids)
    here, there = ids[::2], ids[1::2]
    weigh(*[(one, 100, 10 - place) for place, one in enumerate(here)], *[(one, 0, 10) for one in there])
    one, other = school_of(session, here[0]), school_of(session, there[0])
    assert [device for device in claimed(session, Turn(one, 2), Turn(other, 1)) if device in here] == here[:2]
    assert len(claimed(session, Turn(one, 9), Turn(other, 9))) == 8
    assert claimed(session, Turn(one, 9, bytes=250)) == here[:2]
    assert claimed(session, Turn(one, 9, bytes=0)) == here[:1]
    assert claimed(session, Turn(one, 9, below=100)) == []
    assert claimed(session, Turn(other, 9, bytes=0, below=1)) == there


def test_leases_given_back_leave_no_trace(fleet, due, row, session):
    """The old place in the queue, and nothing at all for who has lost the lease."""
    [one] = fleet(1).ids
    due([one])
    before = row(one)
    claims = turns.claim(session, Lane.NORMAL, [Turn(school_of(session, one), 1)], lease_s=60)
    session.commit()
    assert turns.give_back(session, claims) == 1
    assert turns.give_back(session, claims) == 0
    session.commit()
    after = row(one)
    assert {name for name in after if after[name] != before[name]} <= {"in_s"}


def test_a_wake_up_stays_with_the_school_of_its_tablet(fleet, due, row, session):
    """Whoever writes the row, it has the tablet's school, and follows the tablet to another one."""
    one, other = fleet(2, schools=2).ids
    due([one, other])
    session.execute(text("DELETE FROM wakeup WHERE device_id = :id"), {"id": other})
    session.execute(text("INSERT INTO wakeup (device_id, lane, due_at) VALUES (:id, 1, now())"), {"id": other})
    session.commit()
    schools = [school_of(session, each) for each in (one, other)]
    assert [row(each)["school_id"] for each in (one, other)] == schools
    session.execute(text("UPDATE device SET school_id = :school WHERE id = :id"), {"school": schools[1], "id": one})
    session.commit()
    assert row(one)["school_id"] == schools[1]


@pytest.mark.parametrize(
    ("change", "busy"),
    [
        ("lease_token = gen_random_uuid(), lease_until = now() + interval '1 minute'", True),
        ("attempts = 1, due_at = now() + interval '1 hour'", True),
        ("attempts = 0, due_at = now() + interval '2 minutes'", True),  # awake and being served
        ("attempts = 0, due_at = now() + interval '15 minutes'", False),  # put off
        ("attempts = 0", False),
        ("attempts = 1, payload_bytes = 999", False),
    ],
)
def test_who_may_still_be_fetching(fleet, due, weigh, session, change, busy):
    """A tablet is fetching from the moment it is woken until it is through or has put it off."""
    [one] = fleet(1).ids
    due([one])
    weigh((one, 1000, 1))
    session.execute(text(f"UPDATE wakeup SET {change}"))
    assert turns.fetching(session, [one], [1000]) == ({one} if busy else set())
    wakeups.clear(session, [one])
    assert turns.fetching(session, [one], [1000]) == set()
