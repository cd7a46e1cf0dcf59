"""Tells those who can find what is not verified, each step once: the school before and after the deadline, the board.

A step is a row, and one notice for all schools that it tells. Nothing here names a tablet or a person.
"""

from datetime import date, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.checks import plans
from mdm.checks.models import CheckState, Step, WhereaboutsCheck
from mdm.checks.values import Deadlines, today
from mdm.safeguards import notices

_TO_SCHOOLS: Final = """
INSERT INTO check_step (check_id, step, school_id, done_at, unverified)
SELECT t.check_id, :step, t.school_id, CAST(:now AS timestamptz), count(*)
FROM check_task t WHERE t.check_id = :id AND t.verified_at IS NULL AND t.excluded IS NULL
GROUP BY t.check_id, t.school_id ON CONFLICT DO NOTHING
RETURNING (SELECT s.code FROM school s WHERE s.id = school_id) AS code, unverified
"""
_TO_THE_BOARD: Final = """
INSERT INTO check_step (check_id, step, school_id, done_at, unverified)
SELECT t.check_id, :step, CAST(NULL AS bigint), CAST(:now AS timestamptz), count(*)
FROM check_task t WHERE t.check_id = :id AND t.verified_at IS NULL AND t.excluded IS NULL
GROUP BY t.check_id ON CONFLICT DO NOTHING RETURNING CAST(NULL AS text) AS code, unverified
"""
_SUBJECTS: Final = {
    Step.REMINDER: "A whereabouts check ends soon and tablets are not verified: remind the schools",
    Step.SCHOOL: "A whereabouts check is past its last day and tablets are not verified: the schools must find them",
    Step.BOARD: "Tablets are still not verified after a whereabouts check: for the board of education",
}
_NAMED: Final = 50
"""Schools that a notice names, those with the most to find first."""


def due(deadlines: Deadlines, last_day: date, day: date) -> list[Step]:
    """Return the steps that a day calls for. A reminder is of no use once the last day is over."""
    found: list[Step] = []
    before, school, board = deadlines.remind_before, deadlines.school_after, deadlines.board_after
    if before is not None and last_day - timedelta(days=before) <= day <= last_day:
        found.append(Step.REMINDER)
    if school is not None and day >= last_day + timedelta(days=school):
        found.append(Step.SCHOOL)
    if board is not None and day >= last_day + timedelta(days=board):
        found.append(Step.BOARD)
    return found


def escalate(session: Session) -> int:
    """Do the steps that are due of every running check; return how many schools and boards were told."""
    day = today(clock.now())
    running = select(WhereaboutsCheck).where(col(WhereaboutsCheck.state) == CheckState.RUNNING.value)
    told = 0
    # Locked against closing, and left alone while somebody closes it.
    for check in session.exec(running.with_for_update(read=True, skip_locked=True)).all():
        assert check.id is not None
        for step in due(Deadlines.model_validate(check.deadlines), check.last_day, day):
            told += _tell(session, check.id, step)
    return told


def _tell(session: Session, check_id: UUID, step: Step) -> int:
    statement = _TO_THE_BOARD if step is Step.BOARD else _TO_SCHOOLS
    rows = session.execute(text(statement), {"id": check_id, "step": step.value, "now": clock.now()}).all()
    if rows:
        details = {"step": step.value, "told": len(rows), "unverified": sum(row.unverified for row in rows)}
        worst = sorted((row for row in rows if row.code), key=lambda row: (-row.unverified, row.code))[:_NAMED]
        schools = {row.code: row.unverified for row in worst}
        # Not the check's name: a notice leaves the house, and people write names into names.
        told = {"check": str(check_id), "step": step.value, "unverified": details["unverified"], "schools": schools}
        notices.page(session, f"check.{step.value}", _SUBJECTS[step], told)
        chain.record(session, plans.ACTOR, "check.escalate", f"check:{check_id}", details)
    return len(rows)
