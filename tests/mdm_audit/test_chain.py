"""The audit chain notices every change; the database refuses them."""

import threading

import pytest
from sqlmodel import Session, select

from mdm import db
from mdm.audit import chain, inspection
from mdm.audit.models import AuditEvent


def _first_broken(session: Session) -> int | None:
    found = inspection.verify(session).findings
    return found[0].event_id if found else None


def test_untouched_chain_is_intact(session, write):
    """An untouched trail verifies, and each event names the one before."""
    write(4)
    events = session.exec(select(AuditEvent).order_by(AuditEvent.id)).all()
    assert [after.previous for after in events[1:]] == [before.digest for before in events[:-1]]
    verdict = inspection.verify(session)
    assert (verdict.intact, verdict.events, verdict.last, verdict.head) == (True, 4, 4, events[-1].digest)
    assert [event.sequence for event in events] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE audit_event SET details = '{\"number\": 9}' WHERE id = 3", 3),
        ("UPDATE audit_event SET actor = 'operator:other' WHERE id = 1", 1),
        ("UPDATE audit_event SET at = at + interval '1 second' WHERE id = 2", 2),
        ("UPDATE audit_event SET subject = 'thing:9' WHERE id = 5", 5),
        ("UPDATE audit_event SET action = 'thing.undo' WHERE id = 5", 5),
        ("DELETE FROM audit_event WHERE id = 1", 2),
        ("DELETE FROM audit_event WHERE id = 3", 4),
        (
            (
                "INSERT INTO audit_event (id, at, actor, action, subject, details, previous, digest) OVERRIDING SYSTEM"
                " VALUE SELECT 6, at, actor, action, subject, details, previous, '\\x00' FROM audit_event WHERE id = 5"
            ),
            6,
        ),
        (
            (
                "UPDATE audit_event a SET details = b.details, subject = b.subject FROM audit_event b"
                " WHERE a.id = 2 AND b.id = 4"
            ),
            2,
        ),
    ],
)
def test_any_change_shows(session, write, tamper, statement, broken):
    """A changed, removed, inserted or copied row breaks the chain at its place."""
    write(5)
    tamper(statement)
    assert _first_broken(session) == broken


def test_cut_end_shows_against_a_kept_head(session, write, tamper):
    """Removing the newest events leaves a valid chain, but a digest kept elsewhere is no longer in it."""
    write(3)
    head = inspection.verify(session).head.hex()
    assert chain.contains(session, head)
    tamper("DELETE FROM audit_event WHERE id = 3")
    assert inspection.verify(session).intact
    assert not chain.contains(session, head)


def test_database_refuses_changes(session, write):
    """Ordinary SQL cannot change or delete a row."""
    write(1)
    changes = ("UPDATE {} SET at = now()", "DELETE FROM {}", "TRUNCATE {}")
    tables = ("audit_event", "audit_checkpoint")
    for statement in [change.format(table) for table in tables for change in changes]:
        with pytest.raises(Exception, match="append-only"):
            session.connection().exec_driver_sql(statement)
        session.rollback()


def test_parallel_writers_make_one_chain(session, write):
    """Writers at the same time stand in line: one chain, no fork."""
    threads = [threading.Thread(target=write, args=(5,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verdict = inspection.verify(session)
    assert (verdict.intact, verdict.last) == (True, 20)


def test_details_survive_the_database(session):
    """Whatever is recorded verifies after the round trip through JSONB: floats, NUL, lone surrogates, bytes, dates."""
    odd = {"float": 1e300, "nul": "a\0b", "surrogate": "\ud800", "bytes": b"\x01", "big": 2**70, "n": None, "s": {3}}
    chain.record(session, "host", "odd.do", "odd\0thing", odd)
    session.commit()
    session.expire_all()
    assert inspection.verify(session).intact


def test_a_rolled_back_act_leaves_no_record(database):
    """The record shares the act's transaction."""

    def act() -> None:
        with db.transaction() as session:
            chain.record(session, "host", "thing.do", "thing:1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        act()
    with Session(db.engine()) as fresh:
        assert chain.count(fresh) == 0
