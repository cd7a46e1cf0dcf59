"""Tickets: whom they admit, how often, until when, and that their secrets are not kept."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text

from enrollment import tickets
from enrollment.ca import Admission
from enrollment.models import Ticket, TicketKind
from enrollment.tickets import Refusal
from mdm import db
from mdm.auth import Scope
from mdm.devices.models import Device
from mdm.errors import Conflict, Invalid, NotFound
from mdm.platform import Platform

EVERYWHERE = Scope(all_schools=True)
HOUR = timedelta(hours=1)


def opened_for(session, serial, **options):
    return tickets.open_for_tablet(session, EVERYWHERE, serial=serial, created_by=None, **options)


def staging(session, district, uses, lifetime=HOUR):
    return tickets.open_for_staging(
        session,
        school_id=district.schools["e-01"],
        uses=uses,
        lifetime=lifetime,
        created_by=None,
        platform=Platform.APPLE,
    )


def spent(session, secret):
    return tickets.spend(session, Platform.APPLE, secret)


def test_a_tablets_ticket_is_good_once(session, district):
    """It names its tablet; the second use is refused and says why."""
    opened = opened_for(session, "issued1")
    device_id = district.devices["ISSUED1"]
    expected = Admission(name="ISSUED1", device_id=device_id, ticket_id=opened.id)
    assert tickets.look_up(session, Platform.APPLE, opened.secret) == expected
    assert spent(session, opened.secret) == expected
    refusal = Refusal("the ticket is used up", opened.id, device_id)
    assert spent(session, opened.secret) == refusal == tickets.look_up(session, Platform.APPLE, opened.secret)


def test_the_secret_is_not_kept(session, district):
    """The table holds the hash only, and guesses find nothing."""
    opened = opened_for(session, "ISSUED1")
    assert len(opened.secret) == 64
    row = session.get(Ticket, opened.id)
    assert opened.secret not in str(row)
    assert row.secret_hash == tickets.digest(opened.secret)
    for guess in ("", opened.secret[:-1], opened.secret.upper(), "\ud800", "x\0"):
        assert spent(session, guess) == Refusal("no such ticket")


def test_a_new_ticket_ends_the_old_one(session, district):
    """A tablet has at most one open ticket."""
    first, second = opened_for(session, "ISSUED1"), opened_for(session, "ISSUED1")
    assert spent(session, first.secret).reason == "the ticket is revoked"
    assert isinstance(spent(session, second.secret), Admission)


def test_lost_and_retired_tablets_get_no_ticket(session, district):
    """Neither a new one, nor in by one opened before."""
    for serial in ("LOST2", "RETIRED5"):
        with pytest.raises(Conflict):
            opened_for(session, serial)
    for state in ("lost", "retired"):
        opened = opened_for(session, "ISSUED1")
        device = session.get(Device, district.devices["ISSUED1"])
        device.state = state
        session.flush()
        assert spent(session, opened.secret).reason == f"the tablet is {state} in the ledger"
        device.state = "issued"
        session.flush()


def test_scope_and_ledger(session, district):
    """A tablet outside the ledger or the scope does not exist."""
    with pytest.raises(NotFound):
        opened_for(session, "UNKNOWN")
    there = Scope(all_schools=False, school_ids=frozenset([district.schools["e-02"]]))
    with pytest.raises(NotFound):
        tickets.open_for_tablet(session, there, serial="ISSUED1", created_by=None)
    assert tickets.open_for_tablet(session, there, serial="ISSUED7", created_by=None)


def test_the_time_is_limited(session, district):
    """A tablet's ticket lives an hour at most by default, and a ticket over its time admits nobody."""
    opened = opened_for(session, "ISSUED1", lifetime=timedelta(days=9))
    row = session.get(Ticket, opened.id)
    assert row.expires_at - row.created_at == HOUR
    session.execute(text("UPDATE ticket SET expires_at = now() WHERE id = :id"), {"id": opened.id})
    assert spent(session, opened.secret).reason == "the ticket has expired"


def test_a_staging_ticket_is_good_n_times(session, district):
    """It is bound to a school and to no tablet, and ends after its uses."""
    opened = staging(session, district, 3)
    for _ in range(3):
        admission = spent(session, opened.secret)
        assert (admission.device_id, admission.school_id) == (None, district.schools["e-01"])
    assert spent(session, opened.secret) == Refusal("the ticket is used up", opened.id)


@pytest.mark.parametrize(("uses", "lifetime"), [(0, HOUR), (2001, HOUR), (1, timedelta(0)), (1, timedelta(days=15))])
def test_staging_tickets_are_limited(session, district, uses, lifetime):
    """Neither countless uses nor endless time."""
    with pytest.raises(Invalid):
        staging(session, district, uses, lifetime)


def test_many_at_once_spend_no_more_than_there_is(session, district):
    """Of twelve simultaneous uses of a ticket for five, five are admitted."""
    opened = staging(session, district, 5)
    session.commit()

    def use(_):
        with db.transaction() as own:
            return isinstance(spent(own, opened.secret), Admission)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(use, range(12))) == 5


def test_renewal_tickets(session, district):
    """They admit an enrolled tablet, lost or not, but no retired one and none that is not enrolled."""
    device = session.get(Device, district.devices["LOST2"])

    def renewing(state, status):
        device.state = state
        session.execute(text("UPDATE enrollment SET status = :s WHERE device_id = :d"), {"s": status, "d": device.id})
        opened = tickets.open_for_renewal(session, device_id=device.id, platform=Platform.APPLE, lifetime=HOUR)
        return spent(session, opened.secret)

    expected = renewing("lost", "active")
    assert (expected.device_id, expected.renewal, expected.name) == (device.id, True, "LOST2")
    assert renewing("issued", "ended").reason == "the tablet is not enrolled"
    assert renewing("retired", "active").reason == "the tablet is retired in the ledger"


def test_lists_and_revocation_keep_to_the_scope(session, district):
    """A school's operators see and end their own tickets, and no renewals."""
    tablets = opened_for(session, "ISSUED7")
    bench = staging(session, district, 2)
    tickets.open_for_renewal(session, device_id=district.devices["ISSUED1"], platform=Platform.APPLE, lifetime=HOUR)
    here = Scope(all_schools=False, school_ids=frozenset([district.schools["e-01"]]))
    assert [line.id for line in tickets.list_tickets(session, EVERYWHERE, live=True, limit=9)] == [bench.id, tablets.id]
    line = tickets.list_tickets(session, here, live=True, limit=9)[0]
    assert (line.id, line.kind, line.school_code, line.uses) == (bench.id, TicketKind.STAGING, "e-01", 2)
    with pytest.raises(NotFound):
        tickets.revoke(session, here, tablets.id)
    tickets.revoke(session, here, bench.id)
    tickets.revoke(session, here, bench.id)
    assert spent(session, bench.secret).reason == "the ticket is revoked"
    assert [each.id for each in tickets.list_tickets(session, EVERYWHERE, live=True, limit=9)] == [tablets.id]
    everything = tickets.list_tickets(session, EVERYWHERE, live=False, limit=9, before=bench.id)
    assert [each.id for each in everything] == [tablets.id]


def test_old_ones_are_dropped(session, district):
    """Upkeep deletes what ended long ago and nothing else."""
    old, new = staging(session, district, 1), staging(session, district, 1)
    session.execute(text("UPDATE ticket SET expires_at = now() - interval '91 days' WHERE id = :id"), {"id": old.id})
    session.expire_all()
    assert tickets.drop_old(session) == 1
    assert session.get(Ticket, old.id) is None
    assert session.get(Ticket, new.id) is not None
