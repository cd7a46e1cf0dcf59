"""What is done about a broken tablet: a spare for its holder, the way to the repairer and back (R-29, R-41).

The ledger moves in the same transaction as the case. Nothing here asks anything of a tablet.
"""

from dataclasses import dataclass
from datetime import date

from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.auth import Principal
from mdm.auth.rights import Action
from mdm.devices import handovers
from mdm.devices.models import LedgerState
from mdm.errors import Conflict, Invalid, NotFound
from mdm.support import acts, cases, tablets, timeline
from mdm.support.cases import id_of
from mdm.support.kinds import CaseKind
from mdm.support.models import Case, Repair
from mdm.support.states import Act, State
from mdm.support.tablets import Sought

ADVICE = (
    "Do not release the tablet from Apple School Manager for a repair: it could not be enrolled again. Only a tablet"
    " that the repairer replaces by another gets a new line in the ledger."
)
"""What repairers ask for, wrongly (B8, 19)."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order to a repairer."""

    number: str
    vendor: str
    sent_on: date


def swap(session: Session, principal: Principal, case_id: int, sought: Sought) -> Case:
    """Hand a spare out: holder and what follows from the ledger move to it, at once. `NotASpare` says what is wrong."""
    case, _ = cases.begin(session, principal, case_id, Act.SWAP)
    if case.spare_number is not None:
        raise Conflict("a spare was handed out already")
    found = tablets.the_one(session, principal.scope, sought)
    if tablets.open_cases(session, [found]):
        raise handovers.NotASpare(f"{found.control_number} has an open case of its own")
    broken, spare = handovers.locked_pair(session, principal.scope, _device_of(case), found.id)
    handovers.hand_out(session, broken, spare)
    case.spare_id, case.spare_number = spare.id, spare.control_number
    return _moved(session, principal, case, "swap", spare.id)


def undo_swap(session: Session, principal: Principal, case_id: int) -> Case:
    """Give the holder the first tablet back; the spare is in stock again."""
    case, _ = cases.begin(session, principal, case_id, Act.UNDO_SWAP)
    if case.spare_id is None:
        raise NotFound("the spare's record is gone")
    broken, spare = handovers.locked_pair(session, principal.scope, _device_of(case), case.spare_id)
    handovers.take_back(session, broken, spare)
    case.spare_id = case.spare_number = None
    return _moved(session, principal, case, "undo_swap", spare.id)


def _moved(session: Session, principal: Principal, case: Case, what: str, spare_id: int) -> Case:
    session.add(case)
    timeline.note(session, principal, id_of(case), what, {"spare": spare_id, "broken": case.device_id})
    cases.settle(session, case)
    details = {"case": id_of(case), "broken": case.device_id, "spare": spare_id}
    chain.record(session, principal, f"case.{what}", f"device:{case.device_id}", details)
    return case


def send(session: Session, principal: Principal, case_id: int, order: Order) -> Case:
    """Note that the tablet went to a repairer; the ledger has it in repair from then on."""
    case, _ = cases.begin(session, principal, case_id, Act.SEND_REPAIR)
    acts.to_ledger(session, principal, case, LedgerState.REPAIR)
    session.add(Repair(case_id=case_id, order_number=order.number, vendor=order.vendor, sent_on=order.sent_on))
    facts = {"order": order.number, "vendor": order.vendor, "sent_on": order.sent_on.isoformat()}
    timeline.note(session, principal, case_id, "send_repair", facts)
    cases.settle(session, case)
    chain.record(session, principal, "case.send_repair", f"case:{case_id}", {"order": order.number})
    return case


def back(session: Session, principal: Principal, case_id: int, back_on: date | None) -> Case:
    """Note that the tablet is back: its holder has it again, or it is a spare where its holder has another one."""
    case, _ = cases.begin(session, principal, case_id, Act.REPAIR_BACK)
    away = select(Repair).where(Repair.case_id == case_id, col(Repair.back_on).is_(None)).with_for_update()
    repair = session.exec(away.order_by(col(Repair.id).desc())).first()
    if repair is None:
        raise Conflict("the tablet is not at a repairer")
    day = back_on or clock.now().date()
    if day < repair.sent_on:
        detail = f"it was sent on {repair.sent_on}"
        raise Invalid(detail, errors=[{"pointer": "/back_on", "detail": detail}])
    repair.back_on = day
    session.add(repair)
    acts.to_ledger(session, principal, case, _whole(case))
    timeline.note(
        session, principal, case_id, "repair_back", {"order": repair.order_number, "back_on": day.isoformat()}
    )
    cases.settle(session, case)
    return case


def end(session: Session, principal: Principal, case_id: int, outcome: State) -> Case:
    """Close a case; that of a broken tablet says in the ledger what has become of it. Retiring is the board's."""
    case = acts.end(session, principal, case_id, outcome)
    if case.kind == CaseKind.BROKEN:
        if outcome is State.CLOSED_RETIRED:
            principal.must(Action.RETIRE_DEVICE)
            acts.to_ledger(session, principal, case, LedgerState.RETIRED)
        else:
            acts.to_ledger(session, principal, case, _whole(case))
    return case


def _whole(case: Case) -> LedgerState:
    return LedgerState.STOCK if case.spare_number is not None or case.user_id is None else LedgerState.ISSUED


def _device_of(case: Case) -> int:
    if case.device_id is None:
        raise Conflict("the tablet's record is gone")
    return case.device_id
