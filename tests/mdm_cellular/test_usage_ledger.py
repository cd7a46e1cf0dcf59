"""The ledger of days: whatever comes in whatever order and however often, the figures are those of a plain model."""

from collections import defaultdict
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import Session

from mdm import db
from mdm.cellular import accounts, cycles
from mdm.cellular.models import UsageSource
from mdm.cellular.usage import bills, intake
from mdm.cellular.usage.bills import Billed
from mdm.cellular.usage.ledger import Telling
from mdm.cellular.usage.sources import BEST_FIRST
from tests.mdm_cellular.usage_model import FIRST, TODAY, at, day, told


@pytest.fixture
def take(sims):
    """Record what a carrier says of the lines of `files-1`, and commit."""

    def record(*usage, minute=0, source=UsageSource.API, payloads=()):
        with db.transaction() as session:
            account = accounts.find(session, "files-1")
            return intake.take(session, account, usage, payloads=payloads, as_of=at(minute), source=source)

    return record


@pytest.fixture
def close(sims):
    """Close the cycle that is over, by a bill of lines."""

    def bill(*billed, minute=0):
        with db.transaction() as session:
            account = accounts.find(session, "files-1")
            return bills.close(session, account, Telling(UsageSource.BILL, at(minute)), billed)

    return bill


def shown(sql):
    return {(sim, on): total for sim, on, total in sql("SELECT sim_id, usage_date, bytes_total FROM usage_shown")}


def counts(done):
    return done.new, done.changed, done.same, done.adjusted, done.unknown, done.refused


def test_the_same_figures_again_write_nothing(take, sql, sims) -> None:
    """No row is touched, and the answer is kept once; a correction keeps what it replaced, with its revision."""
    figures = [told(1, 0, 500, up=200, down=300), told(2, 0, 7)]
    assert counts(take(*figures, payloads=[b"page"])) == (2, 0, 0, 0, 0, 0)
    before = sql("SELECT xmin::text, * FROM usage_daily ORDER BY sim_id"), sql("SELECT xmin::text, * FROM usage_cycle")
    assert counts(take(*figures, *figures, minute=5, payloads=[b"page"])) == (0, 0, 2, 0, 0, 0)
    assert before == (
        sql("SELECT xmin::text, * FROM usage_daily ORDER BY sim_id"),
        sql("SELECT xmin::text, * FROM usage_cycle"),
    )
    assert sql("SELECT count(*) FROM usage_raw") == [(1,)]
    assert counts(take(told(1, 0, 501), minute=6)) == (0, 1, 0, 0, 0, 0)
    assert sql("SELECT sim_id, bytes_total, revision FROM usage_revision") == [(sims[1], 500, 1)]
    assert sql("SELECT revision, bytes_up FROM usage_daily WHERE sim_id = :sim", sim=sims[1]) == [(2, None)]
    assert counts(take(told(1, 0, 500), minute=4)) == (0, 0, 1, 0, 0, 0)
    assert shown(sql)[sims[1], day(0)] == 501
    assert sql("SELECT bytes_total FROM usage_cycle ORDER BY sim_id") == [(501,), (7,)]


def test_what_cannot_be_is_left_out_and_counted(take, sql) -> None:
    """Negative and absurd numbers, days to come and long gone, lines nobody has: the rest goes in."""
    future, past = (TODAY - FIRST).days + 3, -5000
    strange = [told(1, 0, -1), told(1, 1, 1 << 60), told(1, future, 1), told(1, past, 1), told(1, 2, 5, up=-3)]
    nobody = [told(99, 0, 1), told(98, 0, 1)]
    assert counts(take(*strange, *nobody, told(2, 0, 12))) == (1, 0, 0, 0, 2, 5)
    assert list(shown(sql).values()) == [12]


def test_the_best_source_is_shown_whichever_came_first(take, sql, sims) -> None:
    """Interface before file before tablet, for each line's day by itself; all are kept, and cycles add up the shown."""
    ways = [UsageSource.DEVICE, UsageSource.API, UsageSource.CSV]
    for number, way in enumerate(ways):
        take(told(1, 0, 100 + number), told(1, number + 1, number), source=way)
    rows = sql("SELECT usage_date, source, bytes_total FROM usage_shown ORDER BY 1")
    assert rows == [(day(0), "api", 101), (day(1), "device", 0), (day(2), "api", 1), (day(3), "csv", 2)]
    assert sql("SELECT count(*) FROM usage_daily") == [(6,)]
    assert sql("SELECT bytes_total, source FROM usage_cycle") == [(104, "api")]


def test_a_closed_cycle_never_changes(take, close, sql, sims) -> None:
    """What comes after the bill stands beside it as the difference, once; a second bill too; others stay open."""
    take(told(1, 0, 100), told(2, 0, 50))
    assert counts(close(Billed(sims[1], FIRST, 120, None), minute=1)) == (1, 0, 0, 0, 0, 0)
    closed = sql("SELECT * FROM usage_cycle WHERE sim_id = :sim", sim=sims[1])
    assert counts(take(told(1, 0, 130), told(1, 1, 4), told(2, 0, 60), minute=2)) == (0, 1, 0, 2, 0, 0)
    assert counts(take(told(1, 0, 130), told(1, 1, 4), told(2, 0, 60), minute=3)) == (0, 0, 3, 0, 0, 0)
    assert counts(take(told(1, 0, 90), minute=4)) == (0, 0, 0, 1, 0, 0)
    assert counts(close(Billed(sims[1], FIRST, 125, None), minute=5)) == (0, 0, 0, 1, 0, 0)
    assert counts(close(Billed(sims[1], FIRST, 125, None), minute=6)) == (0, 0, 1, 0, 0, 0)
    assert sql("SELECT * FROM usage_cycle WHERE sim_id = :sim", sim=sims[1]) == closed
    adjusted = sql("SELECT usage_date, source, delta_bytes FROM usage_adjustment ORDER BY id")
    assert adjusted == [(day(0), "api", 30), (day(1), "api", 4), (day(0), "api", -40), (None, "bill", 5)]
    assert shown(sql) == {(sims[1], day(0)): 100, (sims[2], day(0)): 60}


_TELLINGS = st.lists(
    st.tuples(
        st.sampled_from(["api", "csv", "device"]),
        st.dictionaries(st.tuples(st.integers(1, 3), st.integers(0, 40)), st.integers(0, 10**11), max_size=8),
    ),
    max_size=8,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tellings=_TELLINGS, data=st.data())
def test_any_order_and_repetition_gives_what_a_plain_model_gives(sims, tellings, data) -> None:
    """The last telling of each line's day counts, the best source is shown, cycles add up, late ones stand beside."""
    order = data.draw(st.permutations(list(range(len(tellings))) * 2)) if tellings else []
    bill_after = data.draw(st.none() | st.integers(0, len(order)))
    model: dict[tuple[str, int, int], int] = {}
    with Session(db.engine()) as session:
        account = accounts.find(session, "files-1")
        for place, number in enumerate([*order, None]):
            if place == bill_after:
                bills.close(session, account, Telling(UsageSource.BILL, at(0)), [Billed(sims[1], FIRST, 77, None)])
            if number is not None:
                _tell(session, account, number, *tellings[number])
        for number, (source, figures) in enumerate(tellings):
            model |= {(source, *key): value * 16 + number for key, value in figures.items()}
        _agrees(session, sims, model, closed=bill_after is not None)
        session.rollback()


def _tell(session, account, number, source, figures):
    # Each telling says something else than those before, as corrections do.
    usage = [told(sim, further, value * 16 + number) for (sim, further), value in figures.items()]
    intake.take(session, account, usage, payloads=[f"{number}".encode()], as_of=at(number), source=UsageSource(source))


def _agrees(session, sims, model, *, closed):
    numbers = {sim_id: number for number, sim_id in sims.items()}
    held = defaultdict(int)
    for statement in (
        "SELECT source, sim_id, usage_date, bytes_total FROM usage_daily",
        "SELECT source, sim_id, usage_date, delta_bytes FROM usage_adjustment",
    ):
        for source, sim_id, on, total in session.execute(text(statement)):
            held[source, numbers[sim_id], (on - FIRST).days] += total
    # Nothing, told of a closed cycle, makes no adjustment.
    assert {key: total for key, total in held.items() if total} == {key: value for key, value in model.items() if value}
    if closed:
        assert session.execute(
            text("SELECT bytes_total FROM usage_cycle WHERE sim_id = :sim AND cycle_start = :start"),
            {"sim": sims[1], "start": FIRST},
        ).scalars().all() == [77]
        return
    best: dict[tuple[int, int], int] = {}
    for source in reversed(BEST_FIRST):
        best |= {key[1:]: value for key, value in model.items() if key[0] == source}
    rows = session.execute(text("SELECT sim_id, usage_date, bytes_total FROM usage_shown"))
    assert {(numbers[sim_id], (on - FIRST).days): total for sim_id, on, total in rows} == best
    sums = defaultdict(int)
    for (number, further), total in best.items():
        sums[number, cycles.of_day(FIRST + timedelta(days=further), 1).start] += total
    rows = session.execute(text("SELECT sim_id, cycle_start, bytes_total FROM usage_cycle"))
    assert {(numbers[sim_id], start): total for sim_id, start, total in rows} == dict(sums)
