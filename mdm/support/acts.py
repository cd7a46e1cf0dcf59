"""What is done about a lost, stolen or late tablet. Each act is one transaction of the caller's, and one line or more.

Asks tablets only through `asking`, and of wipes only to be held: what cannot be undone is for two persons.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlmodel import Session

from mdm import clock
from mdm.audit import chain
from mdm.auth import Principal
from mdm.auth.rights import Action
from mdm.commands import transitions
from mdm.commands.kinds import Kind
from mdm.commands.models import CommandState
from mdm.devices import search
from mdm.devices.models import EnrollmentStatus, LedgerState
from mdm.errors import Conflict, Invalid
from mdm.support import asking, cases, lines, locations, timeline
from mdm.support.cases import id_of
from mdm.support.kinds import LOSS, CaseKind, Purpose, Verified
from mdm.support.models import Case
from mdm.support.progress import Progress
from mdm.support.states import Act, State, WrongState, closing_refusal


@dataclass(frozen=True, slots=True)
class WriteOff:
    """What is written down when a tablet is given up."""

    police_report_no: str | None
    insurance_no: str | None


def show_message(session: Session, principal: Principal, case_id: int, given: Mapping[str, Any]) -> Case:
    """Lock the tablet, or show another text on the one that is locked."""
    case, _ = cases.begin(session, principal, case_id, Act.MESSAGE)
    asking.lock(session, principal, case, given).must()
    cases.settle(session, case)
    return case


def ask(session: Session, principal: Principal, case_id: int, purpose: Purpose) -> Case:
    """Ask where the tablet is, or let it sound; only in lost mode, or while it is being turned on."""
    act, kind = (Act.LOCATE, Kind.LOCATE) if purpose is Purpose.LOCATE else (Act.SOUND, Kind.PLAY_SOUND)
    case, _ = cases.begin(session, principal, case_id, act)
    asking.ask(session, principal, case, kind, purpose).must()
    cases.settle(session, case)
    return case


def verify(session: Session, principal: Principal, case_id: int, how: Verified) -> Case:
    """Note how the caller was verified after all."""
    case, _ = cases.begin(session, principal, case_id, Act.VERIFY)
    if how is Verified.NOT_YET:
        raise Invalid("say how", errors=[{"pointer": "/verified", "detail": "say how the caller was verified"}])
    case.verified = how
    session.add(case)
    timeline.note(session, principal, case_id, "verify", {"verified": how})
    return case


def request_wipe(session: Session, principal: Principal, case_id: int, *, reason: str) -> Case:
    """Ask for the tablet to be erased. It is held until a second person agrees, and may wait for a silent tablet.

    What is on its way already is kept; a tablet that cannot be reached now keeps the wish on its case.
    """
    case, _ = cases.begin(session, principal, case_id, Act.WIPE)
    principal.must(Action.REQUEST_WIPE)
    asking.ask(session, principal, case, Kind.WIPE, Purpose.WIPE, reason=reason).must()
    case.wants_wipe = True
    session.add(case)
    cases.settle(session, case)
    return case


def cancel_wipe(session: Session, principal: Principal, case_id: int) -> Case:
    """Take the wish to erase back; `Conflict` when the tablet has been handed the order."""
    case, seen = cases.begin(session, principal, case_id, Act.WIPE)
    if _cancelled(session, principal, case, seen) == "too_late":
        raise Conflict("the tablet has been handed the wipe; it may have carried it out")
    cases.settle(session, case)
    return case


def _cancelled(session: Session, principal: Principal, case: Case, seen: Progress) -> str:
    """Cancel every wipe that can be; say `none`, `cancelled`, `too_late` (handed over) or `done`."""
    case.wants_wipe = False
    session.add(case)
    outcome = "done" if seen.facts.wipe is CommandState.DONE else "none"
    for each in seen.asked:
        if each.purpose is not Purpose.WIPE or not each.live:
            continue
        try:
            transitions.cancel(session, principal, each.id)
            outcome = "cancelled"
        except Conflict:  # handed over since, or done
            outcome = "too_late"
    if outcome != "none":
        timeline.note(session, principal, id_of(case), "wipe_cancel", {"outcome": outcome})
    return outcome


def found(session: Session, principal: Principal, case_id: int) -> Case:
    """The tablet is back: free it, take back what waits for it, forget where it was, ask for its SIM again.

    The case stays open until the tablet itself has said that it is free, or somebody closes it.
    """
    case, seen = cases.begin(session, principal, case_id, Act.FOUND)
    principal.must(Action.LOCK)
    wipe = _cancelled(session, principal, case, seen)
    _free(session, principal, case, seen)
    case.found_at = clock.now()
    purged = locations.purge(session, case)
    timeline.note(session, principal, case_id, "found", {"wipe": wipe, "locations_purged": purged})
    cases.settle(session, case)
    chain.record(session, principal, "case.found", f"case:{case_id}", {"wipe": wipe})
    return case


def _free(session: Session, principal: Principal, case: Case, seen: Progress) -> None:
    """Turn lost mode off where it is on, or on its way; a screen that was locked once needs nothing."""
    lock = seen.latest(Purpose.LOCK)
    on_its_way = lock is not None and lock.live and lock.kind is Kind.LOST_MODE_ON
    case.wants_lock = False
    session.add(case)
    lines.free(session, principal, case)
    if seen.line.status is EnrollmentStatus.ACTIVE and (seen.line.lost_mode or on_its_way):
        asking.ask(session, principal, case, Kind.LOST_MODE_OFF, Purpose.UNLOCK)


def write_off(session: Session, principal: Principal, case_id: int, what: WriteOff) -> Case:
    """Give the tablet up: the ledger calls it lost, so that it is not let in again. Lock and wipe stay in line."""
    case, _ = cases.begin(session, principal, case_id, Act.WRITE_OFF)
    principal.must(Action.CHANGE_DEVICE)
    if case.kind == CaseKind.STOLEN and not what.police_report_no:
        detail = "a stolen tablet is written off with the number of the police report"
        raise Invalid(detail, errors=[{"pointer": "/police_report_no", "detail": detail}])
    case.police_report_no, case.insurance_no = what.police_report_no, what.insurance_no
    to_ledger(session, principal, case, LedgerState.LOST)
    return close(session, principal, case, State.CLOSED_WRITTEN_OFF)


def to_ledger(session: Session, principal: Principal, case: Case, state: LedgerState) -> None:
    """Set where the case's tablet stands in the ledger, if it has a row there still."""
    if case.device_id is None:
        return
    before = search.set_state(session, principal.scope, case.device_id, state)
    if before is not state:
        timeline.note(session, principal, id_of(case), "ledger", {"old": before.value, "new": state.value})
        details = {"old": before.value, "new": state.value, "case": id_of(case)}
        chain.record(session, principal, "device.set_state", f"device:{case.device_id}", details)


def end(session: Session, principal: Principal, case_id: int, outcome: State) -> Case:
    """Close a case in the given way; `WrongState` where it cannot end so. Opened in error, the tablet is freed."""
    case, seen = cases.begin(session, principal, case_id, Act.CLOSE)
    refused = closing_refusal(outcome, seen.facts, seen.state)
    if refused is not None:
        raise refused
    if outcome is State.CLOSED_WRITTEN_OFF:
        raise WrongState("write the tablet off instead: that asks for the report's number")
    if outcome is State.CLOSED_MISTAKEN and case.kind in LOSS:
        _free(session, principal, case, seen)
    lines.must_not_wait(session, case)
    return close(session, principal, case, outcome)


def close(session: Session, who: Principal | str, case: Case, outcome: State) -> Case:
    """Close a case whose end was found to be right; where the tablet was is forgotten."""
    purged = locations.purge(session, case)
    case.state = outcome
    case.closed_at = clock.now()
    case.closed_by = who.id if isinstance(who, Principal) else None
    session.add(case)
    timeline.note(session, who, id_of(case), "close", {"outcome": outcome, "locations_purged": purged})
    chain.record(session, who, "case.close", f"case:{case.id}", {"outcome": outcome, "purged": purged})
    return case


def suspend_sim(session: Session, principal: Principal, case_id: int, *, reason: str, wait: timedelta) -> lines.Asked:
    """Wish for the SIM's suspension. Raises `SimGate` while the SIM is needed; says whether a carrier was asked."""
    case, seen = cases.begin(session, principal, case_id, Act.SIM)
    return lines.suspend(session, principal, case, seen, reason=reason, wait=wait)


def resume_sim(session: Session, principal: Principal, case_id: int) -> lines.Asked:
    """Wish for the SIM's line back, and say whether a carrier was asked."""
    case, _ = cases.begin(session, principal, case_id, Act.SIM)
    return lines.resume(session, principal, case)


def remind(session: Session, principal: Principal, case_id: int) -> Case:
    """Note that the holder of a late tablet was reminded, and count its time anew."""
    case, _ = cases.begin(session, principal, case_id, Act.REMIND)
    case.deadline_at = cases.deadline(session, case, since=clock.now())
    session.add(case)
    timeline.note(session, principal, case_id, "remind", {"deadline": case.deadline_at.isoformat()})
    cases.settle(session, case)
    return case


def become_lost(session: Session, principal: Principal, case_id: int, kind: CaseKind, given: Mapping[str, Any]) -> Case:
    """A late tablet is lost or stolen, it turns out: lock it at once."""
    case, _ = cases.begin(session, principal, case_id, Act.BECOME_LOST)
    if kind not in LOSS:
        raise Invalid("lost or stolen", errors=[{"pointer": "/kind", "detail": "must be lost or stolen"}])
    case.kind = kind
    case.deadline_at = cases.deadline(session, case, since=clock.now())
    session.add(case)
    timeline.note(session, principal, case_id, "become", {"kind": kind})
    cases.take_up(session, case)
    asking.lock(session, principal, case, given)
    cases.settle(session, case)
    chain.record(session, principal, "case.become", f"case:{case_id}", {"kind": kind})
    return case


def write_note(session: Session, principal: Principal, case_id: int, text: str) -> Case:
    """Put a memo on the timeline. `memos.check` has read it before."""
    case, _ = cases.begin(session, principal, case_id, Act.NOTE)
    timeline.note(session, principal, case_id, "note", {"text": text})
    return case
