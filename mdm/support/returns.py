"""A tablet that is being looked for enrols again: it is locked again at once, and the desk is told. Wipes nothing.

An order of a former enrolment is never carried out by a later one (B8, 4): the wish to erase stays on the case, and
asking anew, with a second person, is the desk's.
"""

from typing import Final

from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.commands.models import CommandState
from mdm.support import asking, cases, progress, timeline
from mdm.support.cases import JOB, id_of
from mdm.support.kinds import LOSS, Purpose
from mdm.support.models import Case
from mdm.support.states import State

_LOSS: Final = sorted(kind.value for kind in LOSS)


def comes_back(session: Session, device_id: int, serial: str, epoch: int) -> None:
    """Take up the case of a tablet that has just enrolled, if it is looked for, or was given up.

    By serial number: the tablet's former record may be gone (B8, 3).
    """
    case = session.exec(
        select(Case)
        .where(
            Case.serial == serial,
            col(Case.kind).in_(_LOSS),
            col(Case.found_at).is_(None),
            col(Case.closed_at).is_(None) | (col(Case.state) == State.CLOSED_WRITTEN_OFF),
        )
        .order_by(col(Case.closed_at).desc().nulls_first(), col(Case.id).desc())
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()
    if case is None or _is_over(session, case):
        return
    case.device_id = device_id
    case.came_back_at = clock.now()
    if case.closed_at is not None:
        _reopen(session, case)
    wiped = any(
        each.purpose is Purpose.WIPE and each.state is CommandState.DONE for each in progress.asked_of(session, case)
    )
    # What was wanted erased and was erased is not wanted erased again.
    case.wants_wipe = case.wants_wipe and not wiped
    session.add(case)
    details = {"epoch": epoch, "wiped": wiped, "wants_wipe": case.wants_wipe}
    timeline.note(session, f"tablet:{serial}", id_of(case), "came_back", details)
    if case.wants_lock:
        asking.lock(session, JOB, case, {})
    cases.settle(session, case)
    chain.record(session, JOB, "case.came_back", f"case:{case.id}", details)


def _is_over(session: Session, case: Case) -> bool:
    """Say whether a tablet that was given up has had a later case, which is what counts."""
    if case.closed_at is None:
        return False
    later = select(Case.id).where(Case.serial == case.serial, col(Case.id) > case.id)
    return session.exec(later).first() is not None


def _reopen(session: Session, case: Case) -> None:
    """A tablet that was written off is here: its case is open again."""
    timeline.note(session, JOB, id_of(case), "reopen", {"was": State(case.state).value})
    case.closed_at = case.closed_by = None
    case.state = State.OPENED
    case.deadline_at = cases.deadline(session, case, since=clock.now())
