"""Questions to the ledger: a pool while its lines were in it, those that used most, one line day by day."""

from datetime import timedelta

from mdm import db
from mdm.auth import Scope
from mdm.cellular import accounts
from mdm.cellular.models import UsageSource
from mdm.cellular.reports import lines
from mdm.cellular.usage import intake, reading
from mdm.cellular.usage.reading import DayUsed
from tests.mdm_cellular.usage_model import at, day, told


def test_a_pool_has_used_what_its_lines_used_while_they_were_in_it(sims, sql) -> None:
    """One was in it throughout, one left in the middle, one came, one was never in it."""
    [(pool,)] = sql(
        "INSERT INTO plan_pool (account_id, name, overage) SELECT id, 'p', 'none' FROM carrier_account RETURNING id"
    )
    for number, since, until in ((1, -90, None), (2, -90, 5), (3, 5, None)):
        sql(
            "INSERT INTO pool_membership (pool_id, sim_id, valid_from, valid_to, set_by) VALUES (:pool, :sim,"
            " CAST(:since AS timestamp) AT TIME ZONE 'Asia/Tokyo', CAST(:until AS timestamp) AT TIME ZONE 'Asia/Tokyo',"
            " 'test')",
            pool=pool,
            sim=sims[number],
            since=day(since),
            until=None if until is None else day(until),
        )
    with db.transaction() as session:
        account = accounts.find(session, "files-1")
        figures = [told(number, further, 10**number) for number in (1, 2, 3, 4) for further in range(10)]
        intake.take(session, account, figures, payloads=[b"a"], as_of=at(0))
        better = [told(1, 0, 7)]
        intake.take(session, account, better, payloads=[b"b"], as_of=at(0), source=UsageSource.CSV)
        assert reading.of_pool(session, pool, day(0), day(9)) == 10 * 10 + 5 * 100 + 5 * 1000
        assert reading.of_pool(session, pool, day(6), day(7)) == 2 * 10 + 2 * 1000
        assert reading.of_pool(session, pool, day(20), day(21)) == 0
        most = lines.top(session, Scope(all_schools=True), day(0), day(4), school=None, limit=2)
        assert [(each.sim_id, each.bytes_total) for each in most] == [(sims[4], 50_000), (sims[3], 5_000)]
        days = reading.of_line(session, sims[1], day(-1), day(1))
        assert days == [DayUsed(day(0) + timedelta(days=n), 10, None, UsageSource.API, 540, 1) for n in (0, 1)]
