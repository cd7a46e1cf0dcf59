"""Judge the wipes of campaigns: signed by two organizations over exactly this list, in their time and in waves.

Reads rows of other rooms by SQL and judges them by rules of its own: it must not pass through the code that it audits.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm.auditor.judging import Fault, OnRecord, SigningKey, Suspect, is_signed_by
from mdm.auditor.spending import Thresholds
from mdm.safeguards import signing

_HOUR: Final = timedelta(hours=1)
_SLACK: Final = timedelta(minutes=1)
_JAPAN: Final = timezone(timedelta(hours=9))
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WAVES: Final = ("campaign.wave.1", "campaign.wave.2", "campaign.wave.3")


@dataclass(frozen=True, slots=True)
class Signer:
    """One signature under a campaign."""

    side: str
    operator_id: int
    name: str
    signed_at: datetime
    signature: Mapping[str, Any]
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as its rows stand."""

    id: UUID
    subject: Mapping[str, Any]
    reason: str
    digest: bytes
    requested_by: int
    requested_at: datetime
    expires_at: datetime
    list_hash: bytes
    """Made anew of its tablets."""
    tablets: Mapping[UUID, tuple[int, int]]
    """By command: the tablet and its epoch."""
    signers: tuple[Signer, ...]


_CAMPAIGNS: Final = """
SELECT id, name, reason, filter, "window", arguments, tablets, snapshot, digest, requested_by, requested_at, expires_at
FROM campaign WHERE id IN (SELECT campaign_id FROM campaign_tablet WHERE command_id = ANY(CAST(:ids AS uuid[])))
"""
_LIST: Final = """
SELECT device_id, serial, control_number, school, epoch, evidence_id, scanned_at, command_id
FROM campaign_tablet WHERE campaign_id = :id ORDER BY device_id
"""
_SIGNERS: Final = """
SELECT s.side, s.operator_id, o.name, s.signed_at, s.signature, k.id, k.operator_id AS holder, k.kind, k.public_key,
    k.pinned_at, k.revoked_at
FROM campaign_signature s JOIN operator o ON o.id = s.operator_id JOIN approver_key k ON k.id = s.key_id
WHERE s.campaign_id = :id
"""
_MEMBERS: Final = "SELECT command_id, campaign_id FROM campaign_tablet WHERE command_id IS NOT NULL"


def members(session: Session) -> dict[UUID, UUID]:
    """Return which campaign each command belongs to."""
    return {row.command_id: row.campaign_id for row in session.execute(text(_MEMBERS))}


def read(session: Session, commands: Iterable[UUID]) -> dict[UUID, Campaign]:
    """Return the campaigns of these commands, by id, whole."""
    rows = session.execute(text(_CAMPAIGNS), {"ids": list(commands)}).mappings().all()
    return {row["id"]: _campaign(session, row) for row in rows}


def _campaign(session: Session, row: Mapping[Any, Any]) -> Campaign:
    tablets = session.execute(text(_LIST), {"id": row["id"]}).all()
    lines = [
        {
            "id": each.device_id,
            "serial": each.serial,
            "control_number": each.control_number,
            "school": each.school,
            "epoch": each.epoch,
            "evidence": each.evidence_id,
            "scanned_at": each.scanned_at.astimezone(UTC).isoformat(timespec="microseconds"),
        }
        for each in tablets
    ]
    what = {name: row[name] for name in ("name", "filter", "window", "arguments")}
    signers = [
        Signer(each.side, each.operator_id, each.name, each.signed_at, each.signature, SigningKey(*each[5:]))
        for each in session.execute(text(_SIGNERS), {"id": row["id"]})
    ]
    subject = {
        "campaign": {"id": str(row["id"]), **what},
        "tablets": row["tablets"],
        "snapshot": row["snapshot"].hex(),
    }
    names = ("id", "reason", "digest", "requested_by", "requested_at", "expires_at")
    return Campaign(
        **{name: row[name] for name in names},
        subject=subject,
        list_hash=signing.snapshot(lines) if len(lines) == row["tablets"] else b"",
        tablets={each.command_id: (each.device_id, each.epoch) for each in tablets if each.command_id},
        signers=tuple(signers),
    )


def faults_of_all(campaign: Campaign, trail: OnRecord) -> set[Fault]:
    """Return what is wrong with a campaign, and so with all of its wipes."""
    found = set()
    people = {campaign.requested_by, *(each.operator_id for each in campaign.signers)}
    if {each.side for each in campaign.signers} != {"board", "contractor"} or len(people) != 3:
        found.add(Fault.ALONE)
    if campaign.list_hash.hex() != campaign.subject["snapshot"] or _digest(campaign) != campaign.digest:
        found.add(Fault.CHANGED)
    for each in campaign.signers:
        if not campaign.requested_at - _SLACK <= each.signed_at <= campaign.expires_at + _SLACK:
            found.add(Fault.OUT_OF_TIME)
        challenge = signing.challenge(campaign.digest, approver=each.name, urgent=False)
        if not is_signed_by(each.key, each.operator_id, each.signed_at, challenge, each.signature):
            found.add(Fault.NOT_SIGNED)
        if trail.pinned.get(str(each.key.id)) != (each.name, signing.fingerprint(each.key.public_key)):
            found.add(Fault.KEY_NOT_ON_RECORD)
        if (f"operator:{each.name}", campaign.digest.hex()) not in trail.approved.get(str(campaign.id), ()):
            found.add(Fault.NOT_ON_RECORD)
    return found


def _digest(campaign: Campaign) -> bytes:
    return signing.digest(
        "campaign.wipe",
        campaign.subject,
        reason=campaign.reason,
        requested_by=campaign.requested_by,
        expires_at=campaign.expires_at,
    )


def faults_of(
    suspect: Suspect, campaign: Campaign, left_at: datetime | None, trail: OnRecord, held: Thresholds
) -> set[Fault]:
    """Return what is wrong with one wipe of a campaign beside what is wrong with all of it.

    `left_at` is when the sender says that it let it go.
    """
    found = set()
    what = campaign.subject["campaign"]
    if (suspect.kind, suspect.arguments) != ("wipe", what["arguments"]):
        found.add(Fault.OTHER_SUBJECT)
    if campaign.tablets.get(suspect.id) != (suspect.device_id, suspect.epoch):
        found.add(Fault.OTHER_SUBJECT)
    if suspect.created_by != campaign.requested_by:
        found.add(Fault.OTHER_REQUESTER)
    if left_at is None or str(suspect.id) not in trail.let_go:
        found.add(Fault.NOT_LET_GO)
    moments = [each for each in (left_at, suspect.first_moved_at) if each is not None]
    if campaign.signers and moments:
        signed = max(each.signed_at for each in campaign.signers)
        cooled = signed + timedelta(hours=held.at("campaign.cooling_hours", min(moments)))
        if min(moments) < cooled - _SLACK or not _is_open(what["window"], min(moments)):
            found.add(Fault.OUT_OF_TIME)
    return found


def _is_open(window: Mapping[str, Any], moment: datetime) -> bool:
    local = moment.astimezone(_JAPAN)
    day, start, end = local.date().isoformat(), *str(window["hours"]).split("-")
    works = window["first_day"] <= day <= window["last_day"] and day not in window["closed"]
    return works and _WEEKDAYS[local.weekday()] in window["weekdays"] and start <= f"{local:%H:%M}" < end


def over_wave(left: Mapping[UUID, tuple[UUID, datetime]], held: Thresholds) -> set[UUID]:
    """Return the wipes that left although their wave was full; `left` has campaign and moment by command.

    A wave ends where an hour passes without a wipe, and only a full one makes the next one larger. All campaigns
    together send no more in an hour than one in its last waves.
    """
    found: set[UUID] = set()
    by_campaign: dict[UUID, list[tuple[datetime, UUID]]] = defaultdict(list)
    for command, (campaign, at) in left.items():
        by_campaign[campaign].append((at, command))
    for own in by_campaign.values():
        found |= _over(sorted(own), held)
    everything = sorted((at, command) for command, (_, at) in left.items())
    moments = [at for at, _ in everything]
    for index, (at, command) in enumerate(everything):
        if index + 1 - bisect_right(moments, at - _HOUR) > held.at(_WAVES[2], at):
            found.add(command)
    return found


def _over(moments: Sequence[tuple[datetime, UUID]], held: Thresholds) -> set[UUID]:
    found, full, count, former = set(), 0, 0, None
    size = 0
    for at, command in moments:
        if former is None or at - former >= _HOUR:
            full += former is not None and count >= size
            count = 0
        size = held.at(_WAVES[min(full, 2)], at)
        count += 1
        former = at
        if count > size:
            found.add(command)
    return found
