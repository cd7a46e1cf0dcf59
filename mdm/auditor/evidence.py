"""Read what the auditor judges: commands of class A that left, their approvals, and the sealed trail. Changes nothing.

Hand-written SQL over the rows of other rooms, on purpose: it must not pass through the code that it audits.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock, vault
from mdm.audit import chain
from mdm.audit.events import Link, digest_of, seal_of
from mdm.audit.models import PROOFS
from mdm.auditor.judging import HARMLESS, LEFT, OnRecord, Request, SigningKey, Suspect
from mdm.auditor.spending import Departure, Thresholds
from mdm.safeguards import proven
from mdm.safeguards.threshold_values import FACTS
from mdm.settings import get_settings

_COLUMNS: Final = (
    "id, device_id, kind, arguments, epoch, created_by, approval_id, least(sent_at, delivered_at) AS first_moved_at"
)
_LEFT: Final = (
    "kind <> ALL(CAST(:harmless AS text[]))"
    " AND (state = ANY(CAST(:left AS text[])) OR sent_at IS NOT NULL OR delivered_at IS NOT NULL)"
)
_SUSPECTS: Final = f"""
WITH suspect AS (
    SELECT {_COLUMNS} FROM command WHERE {_LEFT}
        AND greatest(created_at, sent_at, delivered_at, ended_at) >= :since
    UNION ALL
    SELECT {_COLUMNS} FROM command_past WHERE {_LEFT}
        AND ended_at >= :since
)
SELECT s.*, coalesce(d.school_id, 0) AS school_id, a.id AS request_id, a.state, a.action, a.subject, a.digest, a.reason,
    a.requested_by, a.requested_at, a.expires_at, a.decided_by, a.decided_at, a.urgent, a.signature,
    o.name AS approver, k.id AS key_id, k.operator_id, k.kind AS key_kind, k.public_key, k.pinned_at, k.revoked_at
FROM suspect s LEFT JOIN device d ON d.id = s.device_id LEFT JOIN approval a ON a.id = s.approval_id
    LEFT JOIN operator o ON o.id = a.decided_by LEFT JOIN approver_key k ON k.id = a.key_id
ORDER BY s.id
"""
_SHARED: Final = f"""
SELECT approval_id FROM (
    SELECT id, approval_id FROM command WHERE {_LEFT} UNION SELECT id, approval_id FROM command_past WHERE {_LEFT}
) c WHERE approval_id IS NOT NULL GROUP BY approval_id HAVING count(*) > 1
"""
# In the words of the index's own condition, or it would not be used.
_TRAIL: Final = f"""
SELECT id, at, actor, action, subject, details, previous, digest, sequence, key_id, mac FROM audit_event
WHERE {PROOFS} ORDER BY id
"""
_FIRST_SEALED: Final = "SELECT id FROM audit_event WHERE sequence IS NOT NULL ORDER BY sequence LIMIT 1"
_SENDER: Final = "job:sender"
"""Under which name the one process that lets class A leave puts it on record."""
_PARAMETERS: Final = {"harmless": sorted(HARMLESS), "left": sorted(LEFT)}


def suspects(session: Session, since: datetime) -> list[Suspect]:
    """Return every command of class A that left and moved since then."""
    shared = {row[0] for row in session.execute(text(_SHARED), _PARAMETERS)}
    rows = session.execute(text(_SUSPECTS), {**_PARAMETERS, "since": since}).mappings()
    return [_suspect(row, shared=row["approval_id"] in shared) for row in rows]


def _suspect(row: Mapping[Any, Any], *, shared: bool) -> Suspect:
    return Suspect(
        id=row["id"],
        device_id=row["device_id"],
        school_id=row["school_id"],
        kind=row["kind"],
        arguments=row["arguments"],
        epoch=row["epoch"],
        created_by=row["created_by"],
        first_moved_at=row["first_moved_at"],
        request=None if row["request_id"] is None else _request(row),
        shared=shared,
    )


def _request(row: Mapping[Any, Any]) -> Request:
    names = ("state", "action", "subject", "digest", "reason", "requested_by", "requested_at", "expires_at")
    more = ("decided_by", "decided_at", "urgent", "signature", "approver")
    key = None
    if row["key_id"] is not None:
        facts = (row[name] for name in ("key_id", "operator_id", "key_kind", "public_key", "pinned_at", "revoked_at"))
        key = SigningKey(*facts)
    return Request(id=row["request_id"], key=key, **{name: row[name] for name in (*names, *more)})


def trail(session: Session) -> OnRecord:
    """Return what the trail says of approvals; an event whose seal is not ours says nothing."""
    approved: dict[str, set[tuple[str, str]]] = {}
    pinned: dict[str, tuple[str, str]] = {}
    let_go, before_seals = set(), set()
    first_sealed = session.execute(text(_FIRST_SEALED)).scalar()
    for link in _events(session):
        _, _, subject_id = link.subject.partition(":")
        if link.sequence is None:
            # Only from before there were seals; one that is added later was not written by us.
            if first_sealed is None or link.id < first_sealed:
                before_seals.add(subject_id)
        elif not _is_sealed(link):
            continue
        elif link.action == "approval.approve":
            approved.setdefault(subject_id, set()).add((link.actor, str(link.details.get("digest"))))
        elif link.action == "key.pin" and link.actor == "host":
            pinned[subject_id] = (str(link.details.get("operator")), str(link.details.get("fingerprint")))
        elif link.action == "command.release" and link.actor == _SENDER:
            let_go.add(str(link.details.get("command")))
    by_id = {subject_id: frozenset(given) for subject_id, given in approved.items()}
    return OnRecord(by_id, pinned, frozenset(let_go), frozenset(before_seals))


def _events(session: Session) -> Iterator[Link]:
    for row in session.execute(text(_TRAIL)).mappings():
        yield Link(**row)


def _is_sealed(link: Link) -> bool:
    key = vault.derived_key(chain.SEAL_PURPOSE, link.key_id or "")
    return key is not None and digest_of(link) == link.digest and seal_of(key, link.digest) == link.mac


@dataclass(frozen=True, slots=True)
class Release:
    """What the sender wrote down when it let a command go."""

    command_id: UUID
    at: datetime
    device_id: int
    school_id: int
    people: frozenset[int]
    campaign_id: UUID | None


_RELEASES: Final = (
    "SELECT command_id, at, device_id, school_id, requested_by, signers, campaign_id FROM class_a_release"
)
_GONE: Final = """
SELECT r.id FROM unnest(CAST(:ids AS uuid[])) AS r(id)
WHERE NOT EXISTS (SELECT FROM command c WHERE c.id = r.id) AND NOT EXISTS (SELECT FROM command_past p WHERE p.id = r.id)
"""


def releases(session: Session) -> dict[UUID, Release]:
    """Return what the sender let go, by command."""
    found = {}
    for row in session.execute(text(_RELEASES)):
        people = frozenset({*row.signers, *([row.requested_by] if row.requested_by is not None else [])})
        found[row.command_id] = Release(row.command_id, row.at, row.device_id, row.school_id, people, row.campaign_id)
    return found


def vanished(session: Session, let_go: Iterable[Release]) -> list[Release]:
    """Return what was let go and has no row any more, though it is not so old that its month was dropped."""
    kept_since = clock.now() - timedelta(days=28 * get_settings().history_months)
    recent = {each.command_id: each for each in let_go if each.at >= kept_since}
    return [recent[row[0]] for row in session.execute(text(_GONE), {"ids": list(recent)})]


def departures(
    looked: Iterable[Suspect], let_go: Mapping[UUID, Release], members: Mapping[UUID, UUID]
) -> list[Departure]:
    """Return when each command left, but for those of campaigns (`members`), which waves bound and not budgets.

    A record that only says it is a campaign's is counted. What the sender let go without leaving since counts as well;
    what it did not let go counts when it first moved.
    """
    found = [
        Departure(each.command_id, each.at, each.school_id, each.people)
        for each in let_go.values()
        if each.campaign_id is None or members.get(each.command_id) != each.campaign_id
    ]
    for each in looked:
        request = each.request
        at = each.first_moved_at or (request.decided_at if request else None)
        if each.id in let_go or at is None:
            continue
        people = {each.created_by, *((request.decided_by, request.requested_by) if request else ())}
        found.append(Departure(each.id, at, each.school_id, frozenset(one for one in people if one is not None)))
    return found


def thresholds(session: Session) -> Thresholds:
    """Return what the thresholds of class A were at any time; looser ones only where two have signed them."""
    first = {name.value: fact.first for name, fact in FACTS.items()}
    return Thresholds(first, ((row.name, row.set_at, row.value) for row in proven.history(session)))
