"""Compare ledger, carriers and tablets for every SIM, and keep what does not fit as findings. Mends nothing itself.

Every night, and a quarter of an hour after news at the most: an answer of a tablet, or a carrier's list.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.cellular import findings, rounds, tablet_view
from mdm.cellular.findings import Kind as FindingKind
from mdm.cellular.findings import Seen
from mdm.cellular.verdicts import UNSEEN_AFTER, Line, Tablet, Verdict, judge
from mdm.commands import queue
from mdm.commands.kinds import Kind
from mdm.devices import identifiers

KINDS: Final = (
    FindingKind.SWAPPED_PAIR,
    FindingKind.IN_OTHER_TABLET,
    FindingKind.IN_FOREIGN_DEVICE,
    FindingKind.FOREIGN_SIM,
    FindingKind.NOT_SEEN,
    FindingKind.NOT_IN_LEDGER,
)
"""What this looks for; a kind of which nothing is seen any more has gone."""
AT_NIGHT: Final = time(2, 30)
_TOKYO: Final = ZoneInfo("Asia/Tokyo")
_BREATHER: Final = timedelta(minutes=15)
ASK_AFTER: Final = timedelta(days=7)
"""A tablet's word on its SIMs that is older is asked for again."""
_ASKED_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class _Views:
    lines: list[Line]
    tablets: list[Tablet]
    schools: Mapping[int, int]
    """Of each tablet."""
    used_on: Mapping[int, str]
    """The last day on which each line used something."""


def look_if_due(session: Session) -> Counter[str] | None:
    """Look, if it is time for that; None if it is not, or if another worker is at it."""
    mine = rounds.take(session, rounds.RECONCILIATION)
    if mine is None or not _is_due(session, mine.finished_at, mine.news_at):
        return None
    return look(session)


def look(session: Session) -> Counter[str]:
    """Compare everything now and return what there is of each kind, and what became of it."""
    now = clock.now()
    views = _views(session, now)
    verdicts = judge(views.lines, views.tablets, now)
    done: Counter[str] = Counter(verdict.kind.value for verdict in verdicts)
    for kind in KINDS:
        seen = [_seen(verdict, views) for verdict in verdicts if verdict.kind is kind]
        done += findings.see(session, kind, seen, whole=True)
    findings.forget(session)
    rounds.finish(session, rounds.RECONCILIATION, through=now, counts={**done, "lines": len(views.lines)})
    return done


def ask_again(session: Session) -> int:
    """Ask tablets for their inventory whose word on their SIMs is old; some hundred at a time. Return how many."""
    parameters = {"kind": Kind.INVENTORY_DEVICE.value, "before": clock.now() - ASK_AFTER, "limit": _ASKED_AT_ONCE}
    devices = session.execute(text(_OLD_WORDS), parameters).scalars().all()
    if not devices:
        return 0
    outcomes = queue.enqueue(session, "job:reconciliation", devices, Kind.INVENTORY_DEVICE, {}, reason="old inventory")
    return sum(outcome.fresh for outcome in outcomes)


def _is_due(session: Session, finished: datetime | None, news: datetime | None) -> bool:
    now = clock.now()
    if finished is None:
        return True
    local = now.astimezone(_TOKYO)
    night = local.replace(hour=AT_NIGHT.hour, minute=AT_NIGHT.minute, second=0, microsecond=0)
    if finished < (night if night <= local else night - timedelta(days=1)):
        return True
    if now - finished < _BREATHER:
        return False
    carriers: datetime | None = session.execute(text("SELECT max(imei_seen_at) FROM sim")).scalar()
    return any(at is not None and at >= finished for at in (news, carriers))


def _seen(verdict: Verdict, views: _Views) -> Seen:
    details: dict[str, Any] = {
        "other_sim_id": verdict.other_sim_id,
        "other_device_id": verdict.other_device_id,
        "as_of": None if verdict.at is None else verdict.at.isoformat(),
        "by": verdict.by or None,
        "used_on": views.used_on.get(verdict.sim_id or 0),
    }
    where = verdict.device_id or verdict.other_device_id
    return Seen(
        verdict.subject,
        sim_id=verdict.sim_id,
        device_id=verdict.device_id,
        school_id=None if where is None else views.schools.get(where),
        details={name: value for name, value in details.items() if value is not None},
        evidence=details["as_of"] or details["used_on"] or "",
    )


def _views(session: Session, now: datetime) -> _Views:
    since = (now - UNSEEN_AFTER).date()
    used = {row.sim_id: row.day.isoformat() for row in session.execute(text(_USED), {"since": since})}
    lines = [_line(row, used=row.id in used) for row in session.execute(text(_LINES))]
    tablets, schools = [], {}
    for row in session.execute(text(_TABLETS), {"kind": Kind.INVENTORY_DEVICE.value}):
        tablets.append(_tablet(row))
        schools[row.id] = row.school_id
    return _Views(lines, tablets, schools, used)


def _line(row: Any, *, used: bool) -> Line:
    radio = None if row.imei_seen is None else identifiers.imei_key(row.imei_seen)
    # A list names the last radio even of a line that has been off since: what counts is when it was online.
    moments = [at for at in (row.imei_seen_at, row.last_online_at) if at is not None]
    return Line(
        row.id,
        row.iccid_core,
        row.device_id,
        row.valid_from,
        radio,
        min(moments) if row.imei_seen_at is not None else None,
        active=row.effective_status in ("active", "unknown"),
        used=used,
        online_at=row.last_online_at,
    )


def _tablet(row: Any) -> Tablet:
    held = tablet_view.slots(row.subscriptions)
    radios = {slot.radio for slot in held if slot.radio}
    if row.imei is not None:
        radios.add(identifiers.imei_key(row.imei))
    return Tablet(
        row.id,
        frozenset(radios),
        frozenset(slot.core for slot in held if slot.core),
        row.received_at if held else None,
        row.last_seen_at,
        handed_out=row.state == "issued",
    )


_USED: Final = """
SELECT sim_id, max(usage_date) AS day FROM usage_shown WHERE usage_date >= :since AND bytes_total > 0 GROUP BY sim_id
"""
_LINES: Final = """
SELECT s.id, s.iccid_core, s.effective_status, s.imei_seen, s.imei_seen_at, s.last_online_at, b.device_id, b.valid_from
FROM sim s LEFT JOIN sim_binding b ON b.sim_id = s.id AND b.valid_to IS NULL
WHERE s.effective_status <> 'terminated' OR b.id IS NOT NULL ORDER BY s.id
"""
_TABLETS: Final = """
SELECT d.id, d.school_id, d.imei, d.state, e.last_seen_at, r.received_at, r.body -> 'subscriptions' AS subscriptions
FROM device d LEFT JOIN enrollment e ON e.device_id = d.id
LEFT JOIN device_report r ON r.device_id = d.id AND r.kind = :kind ORDER BY d.id
"""
_OLD_WORDS: Final = """
SELECT r.device_id FROM device_report r JOIN enrollment e ON e.device_id = r.device_id AND e.status = 'active'
WHERE r.kind = :kind AND r.received_at < :before AND NOT EXISTS (SELECT FROM command c
    WHERE c.device_id = r.device_id AND c.kind = :kind AND c.state IN ('queued', 'sent', 'delivered', 'not_now'))
ORDER BY r.received_at LIMIT :limit
"""
