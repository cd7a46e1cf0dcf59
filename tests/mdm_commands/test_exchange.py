"""The exchange without a wire: the difference of profiles, the plans of its SQL, and neighbours in one batch."""

import asyncio
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm import db
from mdm.apple.encode import command as encode_command
from mdm.commands import exchange, exchange_sql, history, profile_work, results
from mdm.commands.kinds import FACTS, Kind
from mdm.commands.models import ProfileStatus
from mdm.commands.profile_work import Held, Rest, Step, next_step
from mdm.commands.reports import CommandHandout, Report, Said
from mdm.commands.results import Inventory, TabletFacts
from mdm.devices.life import Stranger, Unwanted
from mdm.embedded import Postgres

ROOT = Path(__file__).resolve().parent.parent.parent

_NAMES = st.sampled_from(["a", "b", "c"])
_ARTIFACTS = st.sampled_from([b"1", b"2", b"3"])
_WANTED = st.dictionaries(_NAMES, _ARTIFACTS)


@given(st.lists(_WANTED, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_any_sequence_of_wishes_ends_with_what_was_wished_last(wishes: list[dict[str, bytes]], dice: object) -> None:
    """Whatever was wished, put off, failed or left in doubt on the way, acknowledged steps lead to the last wish."""
    held: dict[str, Held] = {}
    tablet: dict[str, bytes] = {}
    for turn, wanted in enumerate(wishes):
        last = turn == len(wishes) - 1
        for _ in range(20):
            step = next_step(wanted, held, idle=True)
            if isinstance(step, Rest):
                break
            outcome = "done" if last else dice.choice(["done", "failed", "not_now", "lost", "lost answer"])  # type: ignore[attr-defined]
            _execute(step, outcome, held, tablet)
            if outcome.startswith("lost"):
                break
        if last:
            blocked = {name for name, one in held.items() if one.status == ProfileStatus.FAILED}
            assert {name: body for name, body in tablet.items() if name not in blocked} == {
                name: body for name, body in wanted.items() if name not in blocked
            }


def _execute(step: Step, outcome: str, held: dict[str, Held], tablet: dict[str, bytes]) -> None:
    """Play the tablet and the SQL of SETTLE for one step."""
    before = held.get(step.identifier)
    installed = before.installed if before else None
    if outcome in ("done", "lost answer"):
        if step.artifact is None:
            tablet.pop(step.identifier, None)
        else:
            tablet[step.identifier] = step.artifact
    if outcome == "done":
        if step.artifact is None:
            held.pop(step.identifier, None)
        else:
            held[step.identifier] = Held(step.artifact, step.artifact, uuid4(), ProfileStatus.INSTALLED)
        return
    if outcome == "failed" and step.artifact is None and installed is None:
        held.pop(step.identifier, None)  # the tablet says that there is nothing to remove
        tablet.pop(step.identifier, None)
        return
    status = {"failed": ProfileStatus.FAILED, "not_now": ProfileStatus.NOT_NOW}.get(outcome, ProfileStatus.PENDING)
    held[step.identifier] = Held(installed, step.artifact, uuid4(), status)


def test_every_kind_has_facts_and_is_encoded() -> None:
    """A kind without facts or without a RequestType does not get this far."""
    for kind in Kind:
        assert kind in FACTS
        if kind is not Kind.RENEW_IDENTITY:
            assert encode_command(kind, {})["RequestType"]


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True, options=exchange.PLANNER) as opened:
        opened.execute("SET ROLE NONE")  # what the test does itself, it does as the owner
        yield opened


@pytest.fixture(scope="module", params=["untouched", "known_to_be_empty"])
def empty(request: pytest.FixtureRequest, postgres_server: Postgres, template: str) -> Iterator[psycopg.Connection]:
    """A copy of the migrated database that no vacuum has seen, and one whose planner believes in one row a table."""
    with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {request.param} TEMPLATE {template}")
    with psycopg.connect(postgres_server.url_of(request.param), autocommit=True, options=exchange.PLANNER) as opened:
        opened.execute("SET ROLE NONE")
        if request.param == "known_to_be_empty":
            opened.execute("VACUUM ANALYZE")
        yield opened


@pytest.mark.parametrize(
    ("query", "parameters", "indexes"),
    [
        (exchange_sql.LOOK, "bytea, text, text", {"wakeup_pkey", "command_open"}),
        (exchange_sql.SETTLE, "bytea, jsonb, text, text, text", {"command_pkey", "device_profile_pkey"}),
        (exchange_sql.SETTLE_PAST, "bytea, jsonb, text, text, text", {"device_identity_pkey", "command_past_default_"}),
        (exchange_sql.NEXT, "bytea, text, text", {"wakeup_pkey", "command_open", "command_pkey"}),
        (exchange_sql.HAND, "uuid[], bigint[]", {"command_pkey", "wakeup_pkey"}),
        (exchange_sql.REST, "bigint[], bigint[], boolean[]", {"wakeup_pkey", "command_open"}),
        (exchange_sql.SEEN, "bytea[], double precision", {"device_identity_pkey", "enrollment_pkey"}),
        (results._FACTS, "jsonb, bigint[]", {"enrollment_pkey"}),
        (profile_work._LOCK, "bigint[]", {"enrollment_pkey", "wakeup_pkey"}),
        (profile_work._COMPLETE, "jsonb", {"enrollment_pkey", "device_profile_pkey"}),
    ],
)
def test_the_plans_are_index_look_ups_whatever_the_statistics(
    empty: psycopg.Connection, query: str, parameters: str, indexes: set[str]
) -> None:
    """The tables are empty, which is when a planner is most tempted to scan; it must not, for plans are kept.

    A tablet may be found by its certificate or by its identifier first: which one depends on statistics, both are keys.
    """
    count = parameters.count(",") + 1
    numbered = query
    for number in range(1, count + 1):
        numbered = numbered.replace("%s", f"${number}", 1)
    empty.execute(f"PREPARE looked ({parameters}) AS {numbered}")
    plan = "\n".join(
        line for (line,) in empty.execute(f"EXPLAIN EXECUTE looked ({', '.join(['NULL'] * count)})").fetchall()
    )
    empty.execute("DEALLOCATE looked")
    assert "Seq Scan" not in plan
    assert "command_live_expiry" not in plan
    assert {index for index in indexes if index in plan} == indexes
    scans = re.findall(r"Index (?:Only )?Scan (?:using|on)", plan)
    assert plan.count("Index Cond:") == len(scans)


def _enrolled(connection: psycopg.Connection, number: int, *, status: str = "active") -> tuple[int, Report]:
    school = connection.execute(
        "INSERT INTO school (code, name) VALUES ('S', 'S') ON CONFLICT (code) DO UPDATE SET name = 'S' RETURNING id"
    ).fetchone()
    assert school is not None
    row = connection.execute(
        "INSERT INTO device (control_number, serial, platform, model, school_id, lease_contract, state)"
        " VALUES (%s, %s, 'apple', '', %s, '', 'issued') RETURNING id",
        (f"C{number}", f"S{number}", school[0]),
    ).fetchone()
    assert row is not None
    identity = hashlib.sha256(str(number).encode()).digest()
    connection.execute(
        "INSERT INTO enrollment (device_id, status, epoch, udid) VALUES (%s, %s, 1, %s)", (row[0], status, f"U{number}")
    )
    connection.execute(
        "INSERT INTO device_identity (sha256, device_id, associated_at, not_after, renew_at)"
        " VALUES (%s, %s, now(), now() + interval '1 year', now() + interval '1 year')",
        (identity, row[0]),
    )
    return row[0], Report(identity, f"U{number}")


def _order(connection: psycopg.Connection, device_id: int) -> UUID:
    row = connection.execute(
        "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at)"
        " VALUES (%s, 1, 'restart', '{}', 'restart', 1, 'queued', now() + interval '1 day') RETURNING id",
        (device_id,),
    ).fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


async def _ask(*reports: Report) -> list[object]:
    desk = exchange.build()
    await desk.open()
    try:
        return list(await asyncio.gather(*(desk.check_in(report) for report in reports), return_exceptions=True))
    finally:
        await desk.close()


def test_neighbours_in_a_batch_get_their_own_outcomes(connection: psycopg.Connection) -> None:
    """Work, nothing, a stranger and one that left, in one statement."""
    busy, one = _enrolled(connection, 1)
    _, two = _enrolled(connection, 2)
    _, gone = _enrolled(connection, 3, status="ended")
    command_id = _order(connection, busy)
    stranger = Report(bytes(32), "U9")
    swapped = Report(one.identity, two.name)
    work, nothing, *refused = asyncio.run(_ask(one, two, stranger, swapped, gone))
    assert work == CommandHandout(command_id, Kind.RESTART, {})
    assert nothing is None
    assert [type(each) for each in refused] == [Stranger, Stranger, Unwanted]


def test_a_report_that_the_database_refuses_hurts_nobody_else(connection: psycopg.Connection) -> None:
    """A NUL in JSON cannot be stored: its sender hears of it, the neighbours are served."""
    devices = [_enrolled(connection, number) for number in range(3)]
    orders = [_order(connection, device_id) for device_id, _ in devices]
    reports = [
        Report(report.identity, report.name, Said.DONE, order, result={"x": "\0" if number == 1 else "fine"})
        for number, ((_, report), order) in enumerate(zip(devices, orders, strict=True))
    ]
    asyncio.run(_ask(*(report for _, report in devices)))
    first, poisoned, third = asyncio.run(_ask(*reports))
    assert (first, third) == (None, None)
    assert isinstance(poisoned, psycopg.Error)
    states = connection.execute("SELECT state FROM command ORDER BY device_id").fetchall()
    assert [state for (state,) in states] == ["done", "delivered", "done"]


def test_two_reports_of_one_tablet_keep_their_order(connection: psycopg.Connection) -> None:
    """NotNow, then done, sent without waiting: done is the end."""
    device_id, report = _enrolled(connection, 1)
    command_id = _order(connection, device_id)
    said = [Report(report.identity, report.name, what, command_id) for what in (Said.NOT_NOW, Said.DONE, Said.DONE)]
    asyncio.run(_ask(*said))
    assert connection.execute("SELECT state, not_now_count FROM command").fetchone() == ("done", 1)


def test_a_tablet_that_asks_twice_at_once_is_handed_its_work_both_times(connection: psycopg.Connection) -> None:
    """Its line dropped the first answer: whichever of the two it still reads, it must find the command there."""
    busy, asking = _enrolled(connection, 1)
    reporter, report = _enrolled(connection, 2)
    command_id, other = _order(connection, busy), _order(connection, reporter)
    said = Report(report.identity, report.name, Said.DONE, other)
    _, *answers = asyncio.run(_ask(said, asking, asking))
    assert answers == [CommandHandout(command_id, Kind.RESTART, {})] * 2
    events = connection.execute("SELECT state FROM command_event WHERE command_id = %s", (command_id,)).fetchall()
    assert events == [("delivered",)]


@pytest.mark.parametrize(("attempts", "minutes"), [(1, 2), (0, 15)])
def test_a_tablet_that_falls_silent_while_it_is_served_is_woken_soon(
    connection: psycopg.Connection, attempts: int, minutes: int
) -> None:
    """It was pushed, came, and was handed work: two minutes, not as long as for one that never came. A plan stays."""
    device_id, asking = _enrolled(connection, 1)
    _order(connection, device_id)
    connection.execute(
        "INSERT INTO wakeup (device_id, lane, due_at, attempts, lease_until) VALUES (%s, 1, now() + interval '15 min',"
        " %s, now())",
        (device_id, attempts),
    )
    assert isinstance(asyncio.run(_ask(asking))[0], CommandHandout)
    due = "SELECT round(extract(epoch FROM due_at - now()) / 60)::int, attempts FROM wakeup"
    assert connection.execute(due).fetchone() == (minutes, 0)


def test_a_late_acknowledgement_of_a_moved_command_still_counts_once(connection: psycopg.Connection) -> None:
    """Cancelled after delivery, moved to the past, then done all the same: the tablet is in lost mode, and it is noted.

    Once; and what had ended before it moved stays as it was, whatever is said of it again.
    """
    device_id, report = _enrolled(connection, 1)
    late = _order(connection, device_id)
    connection.execute("UPDATE command SET dedupe_key = 'other'")
    over = _order(connection, device_id)
    connection.execute(
        "UPDATE command SET kind = 'lost_mode_on', delivered_at = now(), ended_at = now() - interval '3 days',"
        " state = CASE id WHEN %s THEN 'cancelled' ELSE 'done' END",
        (late,),
    )
    with db.transaction() as session:
        assert history.move_ended(session, limit=9).count == 2
    for _ in range(2):
        for command_id in (late, over):
            said = Report(report.identity, report.name, Said.DONE, command_id, result={"x": 1})
            assert asyncio.run(_ask(said)) == [None]
    rows = dict(connection.execute("SELECT id, (state, result)::text FROM command_past").fetchall())
    assert rows == {late: '(cancelled,"{""x"": 1}")', over: "(done,)"}
    assert connection.execute("SELECT lost_mode FROM enrollment").fetchone() == (True,)
    assert connection.execute("SELECT command_id, state, note <> '' FROM command_event").fetchall() == [
        (late, "cancelled", True)
    ]


_DOOR = """
import asyncio, sys
from uuid import UUID
from mdm.commands import exchange
from mdm.commands.reports import Report, Said

async def main():
    desk = exchange.build()
    await desk.open()
    for line in sys.stdin:  # the loop is free while it waits: nobody else is at this door
        identity, name, command_id = line.split()
        said = Said.DONE if command_id != "-" else Said.IDLE
        report = Report(bytes.fromhex(identity), name, said, UUID(command_id) if command_id != "-" else None)
        print(await desk.check_in(report), flush=True)
        await asyncio.sleep(1.5 if command_id == "-" else 0)

asyncio.run(main())
"""


def test_a_killed_door_loses_who_was_heard_last_and_nothing_else(connection: psycopg.Connection) -> None:
    """What was answered is written: the report, what was handed out for it, the steps. Who was heard waits a beat."""
    early, idle = _enrolled(connection, 1)
    late, report = _enrolled(connection, 2)
    first = _order(connection, late)
    connection.execute("UPDATE command SET state = 'delivered', delivered_at = now(), dedupe_key = 'first'")
    second = _order(connection, late)
    door = subprocess.Popen(
        [sys.executable, "-c", _DOOR], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert door.stdin is not None
    assert door.stdout is not None
    with door:
        for each, said in ((idle, "-"), (report, str(first))):
            print(each.identity.hex(), each.name, said, file=door.stdin, flush=True)
            answer = door.stdout.readline()
        door.kill()
    assert str(second) in answer
    states = connection.execute("SELECT id, state FROM command ORDER BY id").fetchall()
    assert states == [(first, "done"), (second, "delivered")]
    assert connection.execute("SELECT command_id, state FROM command_event ORDER BY id").fetchall() == states
    seen = dict(connection.execute("SELECT device_id, last_seen_at FROM enrollment").fetchall())
    assert seen[early] is not None
    assert seen.keys() == {early, late}
    assert exchange._BEAT_SECONDS <= 1.0


def test_an_answer_to_a_question_decides_what_comes_next(connection: psycopg.Connection) -> None:
    """A tablet that says it is in lost mode, and one that has just gone into it, are asked in the same breath where."""
    devices = [_enrolled(connection, number) for number in range(3)]
    for (device_id, _), kind in zip(devices, ("inventory_device", "lost_mode_on", "restart"), strict=True):
        _order(connection, device_id)
        connection.execute("UPDATE command SET kind = %s, state = 'delivered' WHERE device_id = %s", (kind, device_id))
        connection.execute(
            "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at)"
            " VALUES (%s, 1, 'locate', '{}', 'locate', 2, 'queued', now() + interval '1 day')",
            (device_id,),
        )
    ids = dict(connection.execute("SELECT device_id, id FROM command WHERE kind <> 'locate'").fetchall())
    told = Inventory(Kind.INVENTORY_DEVICE, {"x": 1}, TabletFacts(lost_mode=True))
    for answers in (devices[:1], devices[1:]):
        said = [
            Report(
                report.identity, report.name, Said.DONE, ids[device_id], inventory=told if len(answers) == 1 else None
            )
            for device_id, report in answers
        ]
        kinds = [getattr(one, "kind", None) for one in asyncio.run(_ask(*said))]
        assert kinds == ([Kind.LOCATE] if len(answers) == 1 else [Kind.LOCATE, None])
