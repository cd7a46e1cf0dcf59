"""The command auditor: re-derive that everything irreversible that left was approved, signed, on record and in budget.

It reads and judges; `keep` is the only thing that writes, and only what was found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col

from mdm.audit import chain
from mdm.auditor import campaigns, evidence, spending
from mdm.auditor.evidence import Release
from mdm.auditor.judging import Fault, OnRecord, Suspect, faults_of
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
    let_go = evidence.releases(session)
    members = campaigns.members(session)
    alone = [each for each in looked if each.id not in members]
    found = [Finding(each.id, each.device_id, fault) for each in alone for fault in faults_of(each, trail)]
    found += _of_campaigns(session, [each for each in looked if each.id in members], members, trail, let_go)
    found += _counted(session, looked, let_go, members)
    return Examined(len(looked), tuple(sorted(found, key=lambda each: (str(each.command_id), each.fault))))


def _of_campaigns(
    session: Session,
    looked: Sequence[Suspect],
    members: Mapping[UUID, UUID],
    trail: OnRecord,
    let_go: Mapping[UUID, Release],
) -> list[Finding]:
    """Judge what left by campaigns, each campaign once."""
    held = evidence.thresholds(session)
    there = campaigns.read(session, [each.id for each in looked])
    shared = {id_: campaigns.faults_of_all(each, trail) for id_, each in there.items()}
    found = []
    for each in looked:
        campaign = there[members[each.id]]
        release = let_go.get(each.id)
        left_at = release.at if release is not None and release.campaign_id == campaign.id else None
        own = campaigns.faults_of(each, campaign, left_at, trail, held)
        found += [Finding(each.id, each.device_id, fault) for fault in own | shared[campaign.id]]
    return found


def _counted(
    session: Session, looked: Iterable[Suspect], let_go: Mapping[UUID, Release], members: Mapping[UUID, UUID]
) -> list[Finding]:
    known = {each.id: each for each in looked}
    gone = [
        Finding(each.command_id, each.device_id, Fault.VANISHED) for each in evidence.vanished(session, let_go.values())
    ]
    held = evidence.thresholds(session)
    by_budget = spending.over_budget(evidence.departures(known.values(), let_go, members), held)
    in_waves = {
        id_: (each.campaign_id, each.at)
        for id_, each in let_go.items()
        if each.campaign_id is not None and members.get(id_) == each.campaign_id
    }
    by_wave = campaigns.over_wave(in_waves, held)
    over = [(Fault.OVER_BUDGET, each) for each in by_budget] + [(Fault.OVER_WAVE, each) for each in by_wave]
    return gone + [Finding(id_, known[id_].device_id, fault) for fault, id_ in over if id_ in known]


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
