"""The report of handling (取扱状況, R-31, R-58): who did and read how much of what in a period, from the trail alone.

Counts only: which tablet or pupil it was stays in the trail.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.csvfile import csv_line


class Sort(StrEnum):
    """What sort of handling an act is."""

    READ = "read"
    """Looked at personal items."""
    EXPORT = "export"
    """Took personal items, or the trail, out as a file."""
    SIGN_IN = "sign_in"
    """Signed in or out, made or ended tokens and keys."""
    REFUSED = "refused"
    """Was turned away."""
    ACT = "act"
    """Changed or ordered something."""


_READS: Final = frozenset({"read", "list", "choices", "read_name", "preview", "report"})
_SIGN_INS: Final = frozenset({"session", "token", "key", "identity", "factor"})


def sort_of(action: str) -> Sort:
    """Return what sort of handling an action of the trail (`noun.verb`) is."""
    noun, _, verb = action.partition(".")
    if verb in ("refuse", "fail"):
        return Sort.REFUSED
    if verb in _READS:
        return Sort.READ
    if verb == "export":
        return Sort.EXPORT
    return Sort.SIGN_IN if noun in _SIGN_INS else Sort.ACT


@dataclass(frozen=True, slots=True)
class Line:
    """One sort of act of one actor."""

    actor: str
    role: str | None
    """As it is now; None for jobs, tablets, the host, and accounts that are gone."""
    sort: Sort
    action: str
    count: int
    first_at: datetime
    last_at: datetime


_COUNT: Final = """
SELECT e.actor, o.role, e.action, count(*), min(e.at), max(e.at)
FROM audit_event e LEFT JOIN operator o ON 'operator:' || o.name = e.actor
WHERE e.at >= :since AND e.at < :until AND (:people IS FALSE OR e.actor LIKE 'operator:%')
GROUP BY e.actor, o.role, e.action ORDER BY e.actor, e.action
"""


def report(session: Session, since: datetime, until: datetime, *, people: bool = True) -> list[Line]:
    """Count the acts of a period by actor and action; only those of operators, unless `people` is off."""
    rows = session.execute(text(_COUNT), {"since": since, "until": until, "people": people})
    return [
        Line(actor, role, sort_of(action), action, count, first, last)
        for actor, role, action, count, first, last in rows
    ]


_HEADERS: Final = ("取扱者", "役割", "種別", "操作", "件数", "最初", "最後")
SORTS: Final = {
    Sort.READ: "閲覧",
    Sort.EXPORT: "出力",
    Sort.SIGN_IN: "認証",
    Sort.REFUSED: "拒否",
    Sort.ACT: "操作",
}
"""As a report that is handed in calls them."""


def csv_lines(lines: list[Line]) -> Iterator[str]:
    """Yield the report as CSV, as it is handed in: Japanese headers, UTC."""
    yield csv_line(_HEADERS)
    for line in lines:
        moments = (each.isoformat(timespec="seconds") for each in (line.first_at, line.last_at))
        cells = (line.actor.removeprefix("operator:"), line.role or "", SORTS[line.sort], line.action, str(line.count))
        yield csv_line((*cells, *moments))
