"""Takes evidence that tablets are there: their own check-ins in sets, scans and words line by line. Asks no tablet.

Evidence is only added. A tablet that is verified stays so; more evidence of it changes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel import Session

from mdm import clock
from mdm.audit import chain
from mdm.auth.principal import SCOPE_SQL, Principal
from mdm.auth.rights import Action
from mdm.checks import plans
from mdm.checks.models import CheckState, EvidenceKind, WhereaboutsCheck
from mdm.checks.sought import CASE, SOUGHT
from mdm.devices import identifiers, ledger
from mdm.errors import Conflict, Invalid, NotFound
from mdm.organization import schools

AT_ONCE: Final = 5000
"""Tablets whose check-ins are taken by one statement."""
MAX_LINES: Final = 1000
"""Numbers in one list of scans."""

_CHECKINS: Final = f"""
WITH running AS (
    SELECT id, checkins_from, by_hand FROM whereabouts_check
    WHERE state = 'running' AND (CAST(:only AS uuid) IS NULL OR id = :only) FOR SHARE
), due AS (
    SELECT t.check_id, t.device_id, e.last_seen_at
    FROM running r JOIN check_task t ON t.check_id = r.id
        -- That a stolen tablet speaks says nothing of where it is, nor of a spare that it is in its cupboard.
        JOIN enrollment e ON e.device_id = t.device_id AND e.last_seen_at >= r.checkins_from AND NOT e.lost_mode
        JOIN device d ON d.id = t.device_id AND d.state NOT IN ('lost', 'retired') AND NOT r.by_hand ? d.state
    WHERE t.verified_at IS NULL AND t.excluded IS NULL AND NOT {SOUGHT}
    ORDER BY t.check_id, t.device_id LIMIT :limit FOR NO KEY UPDATE OF t SKIP LOCKED
), verified AS (
    UPDATE check_task t SET verified_at = due.last_seen_at, verified_by = 'checkin' FROM due
    WHERE t.check_id = due.check_id AND t.device_id = due.device_id AND t.verified_at IS NULL
    RETURNING t.check_id, t.device_id, t.verified_at
)
INSERT INTO check_evidence (check_id, device_id, kind, seen_at, recorded_at, actor)
SELECT check_id, device_id, 'checkin', verified_at, CAST(:now AS timestamptz), :actor FROM verified
"""


class Outcome(StrEnum):
    """What became of one line of a list."""

    VERIFIED = "verified"
    """The tablet is verified by it."""
    AGAIN = "again"
    """It was verified before; this is on record too."""
    OTHER_SCHOOL = "other_school"
    """It is verified, and belongs to another school than where it was scanned."""
    EXCLUDED = "excluded"
    """The check leaves it out (`reason` says why), yet here it is: on record for whoever looks for it."""
    NOT_LISTED = "not_listed"
    """A tablet of the ledger that this check is not about."""
    UNKNOWN = "unknown"
    """No such tablet is in the ledger, or in your schools."""
    REPEATED = "repeated"
    """The same number stands above."""
    MALFORMED = "malformed"
    """Not a control number."""


@dataclass(frozen=True, slots=True)
class Given:
    """A number as it was given, and where."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one number."""

    line: int
    control_number: str | None
    outcome: Outcome
    reason: str | None = None
    """Why the check leaves it out, or `case`: the support desk is looking for it."""
    school: str | None = None
    """The tablet's school, where it is another one."""


def take_checkins(session: Session, *, limit: int = AT_ONCE, only: UUID | None = None) -> int:
    """Verify what has spoken with us since its check counts check-ins; return how many. One statement for a batch."""
    taken = session.execute(text(_CHECKINS), {"limit": limit, "only": only, "now": clock.now(), "actor": plans.ACTOR})
    return int(taken.rowcount)  # type: ignore[attr-defined]  # of an INSERT it is there


def scan(
    session: Session, principal: Principal, check_id: UUID, given: Sequence[Given], *, school: str | None
) -> list[Line]:
    """Take a list of scanned control numbers; `school` is where they were scanned (your own when you have just one).

    A number outside the principal's schools is answered like an unknown one, and kept for its own school as a hint.
    Raises `NotFound`, `Conflict` unless the check runs, `Invalid` for a school that is not in scope.
    """
    principal.must(Action.CONFIRM_TABLET)
    check = _running(session, principal, check_id)
    where = _where(session, principal, school)
    lines = _take(session, principal, check, EvidenceKind.SCAN, given, where=where)
    chain.record(session, principal, "check.scan", f"check:{check_id}", _counts(lines) | {"school": school})
    return lines


def confirm(session: Session, principal: Principal, check_id: UUID, given: Sequence[Given]) -> list[Line]:
    """Take one's word for tablets of one's schools. Raises as `scan` does."""
    principal.must(Action.CONFIRM_TABLET)
    check = _running(session, principal, check_id)
    lines = _take(session, principal, check, EvidenceKind.WORD, given, where=None)
    chain.record(session, principal, "check.confirm", f"check:{check_id}", _counts(lines))
    return lines


def _running(session: Session, principal: Principal, check_id: UUID) -> WhereaboutsCheck:
    """Return a check that runs and is not closed before this transaction ends."""
    check = plans.find(session, principal.scope, check_id, locked="share")
    if check.state != CheckState.RUNNING:
        raise Conflict(f"this check is {CheckState(check.state).value}: it takes no evidence")
    return check


def _where(session: Session, principal: Principal, school: str | None) -> int | None:
    if school is None:
        own = principal.scope.school_ids
        return next(iter(own)) if not principal.scope.all_schools and len(own) == 1 else None
    try:
        return schools.find_school(session, principal.scope, school).id
    except NotFound:
        detail = "there is no such school"
        raise Invalid(detail, errors=[{"pointer": "/school", "detail": detail}]) from None


def _counts(lines: Iterable[Line]) -> dict[str, object]:
    found: dict[str, object] = {}
    for line in lines:
        found[line.outcome.value] = int(str(found.get(line.outcome.value, 0))) + 1
    return found


def _take(
    session: Session,
    principal: Principal,
    check: WhereaboutsCheck,
    kind: EvidenceKind,
    given: Sequence[Given],
    *,
    where: int | None,
) -> list[Line]:
    ledger.hold(session)  # an import writes whole rows: what it has read must not change under it
    read = [(each, _number(each.text)) for each in given]
    found = _found(session, principal, check, sorted({number for _, number in read if number is not None}))
    lines: list[Line] = []
    seen: set[str] = set()
    for each, number in read:
        if number is None:
            lines.append(Line(each.line, None, Outcome.MALFORMED))
        elif number in seen:
            lines.append(Line(each.line, number, Outcome.REPEATED))
        else:
            seen.add(number)
            lines.append(_line(each.line, number, found.get(number), where))
    _write(session, principal, check, kind, list(found.values()), where=where)
    return lines


def _number(given: str) -> str | None:
    try:
        return identifiers.control_number(given)
    except Invalid:
        return None


def _found(
    session: Session, principal: Principal, check: WhereaboutsCheck, numbers: list[str]
) -> dict[str, Row[tuple[object, ...]]]:
    """Return what the ledger and the check's list know of these numbers, in scope or not."""
    statement = (
        "SELECT d.id, d.control_number, d.school_id, s.code, t.device_id IS NOT NULL AS listed, t.excluded,"
        f" t.verified_at, {SOUGHT} AS sought, {SCOPE_SQL.format(column='d.school_id')} AS in_scope"
        " FROM device d JOIN school s ON s.id = d.school_id"
        " LEFT JOIN check_task t ON t.check_id = :id AND t.device_id = d.id"
        " WHERE d.control_number = ANY(CAST(:numbers AS text[]))"
    )
    parameters = {"id": check.id, "numbers": numbers, "schools": principal.scope.parameter}
    return {row.control_number: row for row in session.execute(text(statement), parameters)}


def _line(line: int, number: str, row: Row[tuple[object, ...]] | None, where: int | None) -> Line:
    if row is None or not row.in_scope:
        return Line(line, number, Outcome.UNKNOWN)
    elsewhere = row.code if where is not None and row.school_id != where else None
    reason = CASE if row.sought else row.excluded
    if not row.listed:
        return Line(line, number, Outcome.NOT_LISTED, reason, elsewhere)
    if row.excluded is not None:
        return Line(line, number, Outcome.EXCLUDED, reason, elsewhere)
    if elsewhere is not None:
        return Line(line, number, Outcome.OTHER_SCHOOL, reason, elsewhere)
    return Line(line, number, Outcome.VERIFIED if row.verified_at is None else Outcome.AGAIN, reason)


def _write(
    session: Session,
    principal: Principal,
    check: WhereaboutsCheck,
    kind: EvidenceKind,
    found: Sequence[Row[tuple[object, ...]]],
    *,
    where: int | None,
) -> None:
    now = clock.now()
    own = [row.id for row in found if row.in_scope]
    # A hint is no proof: else whoever knows a number could have another school's tablet counted as found.
    hints = [row.id for row in found if not row.in_scope and kind is EvidenceKind.SCAN and where is not None]
    listed = {row.id for row in found if row.listed}
    on_record = [(id_, False) for id_ in own if id_ in listed] + [(id_, True) for id_ in hints if id_ in listed]
    session.execute(
        text(
            "INSERT INTO check_evidence (check_id, device_id, kind, seen_at, recorded_at, actor, school_id, hint)"
            " SELECT CAST(:id AS uuid), g.device_id, :kind, CAST(:now AS timestamptz), CAST(:now AS timestamptz),"
            " :actor, CAST(:where AS bigint), g.hint"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:hints AS boolean[])) AS g (device_id, hint)"
        ),
        {
            "id": check.id,
            "kind": kind.value,
            "now": now,
            "actor": principal.actor[:80],
            "where": where,
            "ids": [id_ for id_, _ in on_record],
            "hints": [hint for _, hint in on_record],
        },
    )
    session.execute(
        text(
            "UPDATE check_task SET verified_at = :now, verified_by = :kind WHERE check_id = :id"
            " AND device_id = ANY(CAST(:own AS bigint[])) AND verified_at IS NULL AND excluded IS NULL"
        ),
        {"id": check.id, "kind": kind.value, "now": now, "own": own},
    )
    session.execute(
        text("UPDATE device SET stocktaken_at = :now WHERE id = ANY(CAST(:own AS bigint[]))"), {"now": now, "own": own}
    )
