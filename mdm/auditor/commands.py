"""The command auditor: re-derive that everything irreversible that left was approved, signed, on record and in budget.

It reads and judges; `keep` is the only thing that writes, and only what was found.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col

from mdm.audit import chain
from mdm.auditor import evidence, spending
from mdm.auditor.judging import Fault, Suspect, faults_of
from mdm.auditor.models import CommandFinding

ACTOR: Final = "job:auditor"
EVER: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one command's having left."""

    command_id: UUID
    device_id: int | None
    fault: Fault


@dataclass(frozen=True, slots=True)
class Examined:
    """What a look came to."""

    commands: int
    """How many that left were looked at."""
    findings: tuple[Finding, ...]


def examine(session: Session, since: datetime) -> Examined:
    """Judge every command of class A that has left and moved since then."""
    looked = evidence.suspects(session, since)
    trail = evidence.trail(session)
    found = [Finding(each.id, each.device_id, fault) for each in looked for fault in faults_of(each, trail)]
    found += _counted(session, looked)
    return Examined(len(looked), tuple(sorted(found, key=lambda each: (str(each.command_id), each.fault))))


def _counted(session: Session, looked: Iterable[Suspect]) -> list[Finding]:
    let_go = evidence.releases(session)
    known = {each.id: each for each in looked}
    gone = [
        Finding(each.command_id, each.device_id, Fault.VANISHED) for each in evidence.vanished(session, let_go.values())
    ]
    departures = evidence.departures(known.values(), let_go)
    over = spending.over_budget(departures, evidence.thresholds(session))
    return gone + [
        Finding(command_id, known[command_id].device_id if command_id in known else None, Fault.OVER_BUDGET)
        for command_id in over
        if command_id in known
    ]


def keep(session: Session, findings: Iterable[Finding]) -> list[Finding]:
    """Put what is new on record, in the table and in the trail; return it, to be told once."""
    fresh = []
    for each in findings:
        row = {"command_id": each.command_id, "fault": each.fault.value}
        statement = (
            insert(CommandFinding).values(row).on_conflict_do_nothing().returning(col(CommandFinding.command_id))
        )
        if session.execute(statement).first() is not None:
            fresh.append(each)
    for each in fresh:
        details = {"fault": each.fault, "device": each.device_id}
        chain.record(session, ACTOR, "command.finding", f"command:{each.command_id}", details)
    return fresh
