"""What time brings about in cases: states that tablets have reported, ends, deadlines, and late answers to forget.

One case to a transaction: nobody at the desk waits for the job, and it waits for nobody.
"""

from collections import defaultdict
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.devices.models import EnrollmentStatus
from mdm.safeguards import notices
from mdm.support import acts, asking, cases, lines, locations, timeline
from mdm.support.cases import JOB, id_of
from mdm.support.kinds import LOSS, CaseKind, Purpose
from mdm.support.models import Case
from mdm.support.progress import Progress
from mdm.support.states import State

_AT_ONCE: Final = 500
_NAMED: Final = 20
"""Cases of a kind that a page lists by number."""
_LATE_ANSWERS: Final = """
SELECT DISTINCT s.id FROM support_case s JOIN command c ON c.device_id = s.device_id
WHERE c.kind = 'locate' AND c.result IS NOT NULL AND c.created_at >= s.opened_at
    AND coalesce(s.closed_at, s.found_at) > now() - interval '40 days'
    AND c.created_at <= coalesce(s.closed_at, s.found_at) LIMIT :limit
"""
"""A `locate` lives for a day: what was asked before the end may be answered after it."""


def waiting(session: Session) -> list[int]:
    """Return the open cases, those whose time has run out first, and closed ones with a late answer to forget."""
    statement = select(Case.id).where(col(Case.closed_at).is_(None)).order_by(col(Case.deadline_at)).limit(_AT_ONCE)
    ids = [id_ for id_ in session.exec(statement) if id_ is not None]
    late = session.execute(text(_LATE_ANSWERS), {"limit": _AT_ONCE})
    return list(dict.fromkeys([*ids, *(id_ for (id_,) in late)]))


def tend(session: Session, case_id: int) -> str | None:
    """Do what is due for one case; return what was done. A case that somebody works on just now is left alone."""
    case = session.exec(select(Case).where(Case.id == case_id).with_for_update(skip_locked=True)).first()
    if case is None:
        return None
    if case.closed_at is not None or case.found_at is not None:
        _forget(session, case)
    if case.closed_at is not None:
        return "forgotten"
    before = case.state
    seen = cases.settle(session, case)
    if _was_left_unlocked(case, seen):
        asking.lock(session, JOB, case, {})
        seen = cases.settle(session, case)
    line_open = lines.follow(session, case)
    if case.found_at is not None and _is_free(seen) and not line_open:
        acts.close(session, JOB, case, State.CLOSED_FOUND)
        return "closed"
    if case.deadline_at <= clock.now():
        _escalate(session, case)
        return "overdue"
    return "moved" if seen.state != before else None


def _was_left_unlocked(case: Case, seen: Progress) -> bool:
    """Say whether a tablet that came back could not be locked then (the fleet's budget was spent), and can be tried.

    What a person asked for and did not get is that person's to ask again, within their own budget.
    """
    wanted = case.kind in LOSS and case.wants_lock and case.came_back_at is not None and case.found_at is None
    reachable = seen.line.status is EnrollmentStatus.ACTIVE and not seen.facts.locked
    return wanted and reachable and seen.latest(Purpose.LOCK) is None


def _is_free(seen: Progress) -> bool:
    """Say whether a tablet that is back has said its last word: no lock, no lock's end and no wipe is on its way."""
    last = [seen.latest(purpose) for purpose in (Purpose.LOCK, Purpose.UNLOCK, Purpose.WIPE)]
    return not seen.line.lost_mode and not any(each is not None and each.live for each in last)


def _escalate(session: Session, case: Case) -> None:
    """Say that a case's time has run out, and give it as much again: it is said once more each time."""
    case.escalations += 1
    overdue_since = case.deadline_at
    case.deadline_at = cases.deadline(session, case, since=clock.now())
    session.add(case)
    details = {"since": overdue_since.isoformat(), "times": case.escalations, "state": State(case.state).value}
    timeline.note(session, JOB, id_of(case), "overdue", details)
    chain.record(session, JOB, "case.overdue", f"case:{case.id}", {"times": case.escalations})


def tell(session: Session) -> int:
    """Page once for each open case whose time has run out, one page for all that are new; return how many."""
    late = session.exec(
        select(Case.id, Case.kind)
        .where(col(Case.closed_at).is_(None), col(Case.escalations) > 0)
        .order_by(col(Case.id))
    ).all()
    kinds = {f"case.overdue:{case_id}": (case_id, kind) for case_id, kind in late}
    new = [kinds[matter] for matter in notices.not_yet_told(session, kinds)]
    if not new:
        return 0
    numbers: defaultdict[str, list[int | None]] = defaultdict(list)
    for case_id, kind in new:
        numbers[CaseKind(kind).value].append(case_id)
    details = {kind: {"count": len(each), "cases": each[:_NAMED]} for kind, each in sorted(numbers.items())}
    notices.page(session, "case.overdue", "Cases of the support desk have run out of time", details)
    return len(new)


def _forget(session: Session, case: Case) -> None:
    purged = locations.purge(session, case)
    if purged:
        timeline.note(session, JOB, id_of(case), "purge", {"locations_purged": purged})
