"""The line of a case's tablet: suspend it, open it again, see what its carrier has said. Asks carriers by wishes only.

The case keeps what is wanted (`sim_wanted`); what cannot be asked for now, a job asks for later.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.audit import chain
from mdm.auth import Principal
from mdm.auth.rights import Action
from mdm.cellular import bindings, line_gate, sim_actions, sim_gate, sim_wishes
from mdm.cellular.models import LIVE_ACTIONS, ActionKind, ActionState, Sim, SimAction
from mdm.cellular.sim_gate import Landed
from mdm.cellular.sim_wishes import NoCarrier, SimGate, Wish
from mdm.commands.models import CommandState
from mdm.errors import Conflict, MdmError
from mdm.support import timeline
from mdm.support.cases import JOB, id_of
from mdm.support.kinds import Purpose
from mdm.support.models import Case
from mdm.support.progress import Asked as AskedTablet
from mdm.support.progress import Progress

SUSPENDED: Final = "suspended"
ACTIVE: Final = "active"


@dataclass(frozen=True, slots=True)
class Asked:
    """Whether a wish is on its way to a carrier, or why it is only on the case."""

    action: SimAction | None = None
    refusal: MdmError | None = None


def suspend(
    session: Session, principal: Principal, case: Case, seen: Progress, *, reason: str, wait: timedelta
) -> Asked:
    """Wish for the suspension of the line of the case's tablet. Raises `SimGate` while the line is needed."""
    sim_id = _sim_of(session, case)
    if sim_id is None or not line_gate.is_elsewhere(session, sim_id):
        decision = sim_gate.decide(
            lock=_landed(case.wants_lock, seen.latest(Purpose.LOCK), locked=seen.facts.locked),
            wipe=_landed(case.wants_wipe, seen.latest(Purpose.WIPE), locked=False),
            reason=reason,
            waiting_since=max([each.created_at for each in seen.asked] or [case.opened_at]),
            now=clock.now(),
            wait=wait,
        )
        if isinstance(decision, sim_gate.Refused):
            until = "" if decision.until is None else f"; not before {decision.until:%Y-%m-%dT%H:%M:%SZ}"
            raise SimGate(decision.detail + until)
    wish = Wish(ActionKind.SUSPEND, reason or f"case {case.id}", wait=wait)
    return _wish(session, principal, case, sim_id, wish)


def resume(session: Session, who: Principal | str, case: Case) -> Asked:
    """Wish for the line of the case's tablet to be open again."""
    wish = Wish(ActionKind.RESUME, f"case {case.id}")
    return _wish(session, who, case, _sim_of(session, case), wish)


def free(session: Session, principal: Principal, case: Case) -> None:
    """Open the line of a tablet that is back, if it was cut, or is to be, since the case was opened."""
    if case.sim_wanted == SUSPENDED or _was_cut(session, case):
        resume(session, principal, case)


def is_so(session: Session, case: Case) -> bool:
    """Say whether the line is what the case wants, by its carrier's word."""
    sim_id = _sim_of(session, case)
    return sim_id is not None and session.get_one(Sim, sim_id).effective_status == case.sim_wanted


def must_not_wait(session: Session, case: Case) -> None:
    """Raise `Conflict` for a case whose line is to be opened as soon as its suspension is over: it must stay open."""
    sim_id = _sim_of(session, case) if case.sim_wanted == ACTIVE else None
    newest = None if sim_id is None else sim_actions.newest_of(session, sim_id)
    if newest is not None and newest.kind == ActionKind.SUSPEND and newest.state in LIVE_ACTIONS:
        raise Conflict("the suspension of the line is on its way; it is opened after that, and then the case can end")


def follow(session: Session, case: Case) -> bool:
    """Ask again for what could not be asked for, note what the carrier has said; return whether anything is open."""
    sim_id = None if case.sim_wanted is None else _sim_of(session, case)
    newest = None if sim_id is None else sim_actions.newest_of(session, sim_id)
    if sim_id is None or newest is None or newest.requested_at < case.opened_at:
        return False
    if newest.state in LIVE_ACTIONS:
        return True
    _note_end(session, case, newest)
    cut = newest.kind == ActionKind.SUSPEND and newest.state != ActionState.CANCELLED
    if case.sim_wanted == ACTIVE and cut:  # it was too late to take that back
        return resume(session, JOB, case).action is not None
    return False


def _wish(session: Session, who: Principal | str, case: Case, sim_id: int | None, wish: Wish) -> Asked:
    asked = Asked(refusal=NoCarrier("the inventory has no SIM in this tablet: somebody must ask the carrier"))
    if sim_id is not None:
        asked = _asked(session, who, sim_id, wish)
    wanted = SUSPENDED if wish.kind is ActionKind.SUSPEND else ACTIVE
    case.sim_wanted = wanted
    session.add(case)
    details: dict[str, Any] = {"wanted": wanted, "carrier": "none" if asked.action is None else "asked"}
    if wish.kind is ActionKind.SUSPEND:
        details["waited_hours"] = int(wish.wait.total_seconds() // 3600)
    if asked.action is not None:
        details["action"] = str(asked.action.id)
    timeline.note(session, who, id_of(case), "sim", details)
    chain.record(session, who, "case.sim", f"case:{case.id}", {"wanted": wanted})
    return asked


def _asked(session: Session, who: Principal | str, sim_id: int, wish: Wish) -> Asked:
    """Ask for an act, in the duty of losses. What is refused is an answer, and leaves nothing behind."""
    try:
        with session.begin_nested():
            [outcome] = sim_wishes.ask(session, who, [sim_id], wish, right=Action.WORK_LOSS)
    except Conflict as refusal:  # a spent budget: the case goes on, and asks again
        return Asked(refusal=refusal)
    if isinstance(outcome.refusal, SimGate):
        raise outcome.refusal
    return Asked(outcome.action, outcome.refusal)


def _sim_of(session: Session, case: Case) -> int | None:
    bound = None if case.device_id is None else bindings.of_device(session, case.device_id)
    return None if bound is None else bound.sim_id


def _was_cut(session: Session, case: Case) -> bool:
    """Say whether the line was suspended while the case was open, at whatever door."""
    sim_id = _sim_of(session, case)
    newest = None if sim_id is None else sim_actions.newest_of(session, sim_id)
    return newest is not None and newest.kind == ActionKind.SUSPEND and newest.requested_at >= case.opened_at


def _note_end(session: Session, case: Case, action: SimAction) -> None:
    """Put the end of an act on the timeline, once."""
    known = text(
        "SELECT 1 FROM case_event WHERE case_id = :case AND what = 'sim' AND details ->> 'action' = :action"
        " AND details ->> 'carrier' = :state"
    )
    values = {"case": case.id, "action": str(action.id), "state": action.state}
    if session.execute(known, values).first() is None:
        details = {"wanted": case.sim_wanted, "carrier": action.state, "action": str(action.id)}
        timeline.note(session, JOB, id_of(case), "sim", details)


def _landed(wanted: bool, latest: AskedTablet | None, *, locked: bool) -> Landed:
    if locked:
        return Landed.LANDED
    if latest is None:
        return Landed.FAILED if wanted else Landed.NOT_WANTED
    if latest.state is CommandState.DONE:
        return Landed.LANDED
    return Landed.UNDER_WAY if latest.live else Landed.FAILED
