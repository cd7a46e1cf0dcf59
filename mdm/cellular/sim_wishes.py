"""Wishes for lines: suspend, resume, another speed or plan, bound to a radio or not. Checks and notes; sends nothing.

What is noted here a worker sends (`workers.line_acts`). More lines at once than the threshold allows need a second
person. Suspending goes through the gate: the SIM is a tablet's only command channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock, jobs
from mdm.audit import chain
from mdm.auth import SCOPE_SQL, Action, Principal, Scope
from mdm.auth.rights import Safety
from mdm.cellular import line_gate, sim_actions
from mdm.cellular.carriers.switchboard import carrier_of
from mdm.cellular.carriers.values import Refused as NotSpoken
from mdm.cellular.models import ActionKind, ActionState, CarrierKind, SimAction
from mdm.cellular.sim_gate import USUAL_WAIT, Refused
from mdm.devices import identifiers
from mdm.errors import Conflict, Forbidden, Invalid, MdmError, NotFound
from mdm.jobs import Job
from mdm.safeguards import approvals, budgets, thresholds
from mdm.safeguards.threshold_values import Name

LIFETIME: Final = timedelta(hours=6)
"""After this a wish that has not come about is over, and shown as such."""


class SimGate(Conflict):
    """The SIM is the only way to the tablet, and something wanted has not landed yet."""

    slug = "sim-gate"


class NoCarrier(Conflict):
    """Nobody is connected who could do it."""

    slug = "no-carrier"


class UnderWay(Conflict):
    """Another act is on its way to the carrier for this line."""

    slug = "act-under-way"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of lines, and why. `wait` is how long a tablet that has not answered was waited for."""

    kind: ActionKind
    reason: str
    value: str = field(default="", repr=False)
    wait: timedelta = USUAL_WAIT


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a wish for one line."""

    sim_id: int
    action: SimAction | None = None
    fresh: bool = False
    refusal: MdmError | None = None
    warning: str | None = None

    def must(self) -> SimAction:
        """Return the action, or raise what it was refused for."""
        if self.refusal is not None:
            raise self.refusal
        assert self.action is not None
        return self.action


def ask(
    session: Session, who: Principal | str, sim_ids: Sequence[int], wish: Wish, *, right: Action = Action.CONTROL_SIMS
) -> list[Outcome]:
    """Note a wish for lines and return what became of it for each, in their order; what is refused leaves nothing.

    Raises `Invalid` without a reason, `BudgetSpent`, and `Forbidden` for a job that wants too many at once.
    """
    wanted = list(dict.fromkeys(sim_ids))
    most = thresholds.current(session)[Name.SIMS_AT_ONCE]
    if isinstance(who, Principal):
        who.must(right)
        if len(wanted) > 1:
            who.must_be_fresh(who.minutes_for_bulk)
    elif len(wanted) > most:
        raise Forbidden("a job may not change so many lines at once")
    if not wish.reason.strip():
        raise Invalid("say why", errors=[{"pointer": "/reason", "detail": "say why; it is kept with the act"}])
    if wish.kind is ActionKind.LOCK_IMEI and wish.value and len(wanted) > 1:
        raise _wrong("a radio is given for one line; of several each is bound to its own tablet's")
    found = {row.id: row for row in session.execute(text(_LINES), _parameters(who, wanted))}
    outcomes = {sim_id: _judge(session, found.get(sim_id), sim_id, wish) for sim_id in wanted}
    lines = [found[each.sim_id] for each in outcomes.values() if each.refusal is None and each.action is None]
    if lines:
        held = isinstance(who, Principal) and len(lines) > most
        placed = _place(session, who, lines, wish, held=held)
        outcomes |= {each: Outcome(each, act, True, None, outcomes[each].warning) for each, act in placed.items()}
    return [outcomes[sim_id] for sim_id in wanted]


def _parameters(who: Principal | str, wanted: Sequence[int]) -> dict[str, Any]:
    scope = who.scope if isinstance(who, Principal) else Scope(all_schools=True)
    return {"sims": list(wanted), "schools": scope.parameter}


_LINES: Final = (
    "SELECT s.id, s.account_id, s.effective_status, s.iccid_core, a.kind, a.enabled, d.id AS device_id, d.serial,"
    " d.control_number, d.imei FROM sim s JOIN carrier_account a ON a.id = s.account_id"
    " LEFT JOIN sim_binding b ON b.sim_id = s.id AND b.valid_to IS NULL LEFT JOIN device d ON d.id = b.device_id"
    f" WHERE s.id = ANY(CAST(:sims AS bigint[])) AND {SCOPE_SQL.format(column='d.school_id')}"
    " ORDER BY s.id FOR UPDATE OF s"
)


def _judge(session: Session, line: Any, sim_id: int, wish: Wish) -> Outcome:
    """Return why a wish is refused, the act that does the same already, or neither where it can be placed."""
    if line is None:
        return Outcome(sim_id, refusal=NotFound("there is no such SIM"))
    try:
        _must_be_possible(session, line, wish)
        warning = None
        if wish.kind is ActionKind.SUSPEND:
            decision = line_gate.judge(session, sim_id, reason=wish.reason, wait=wish.wait)
            if isinstance(decision, Refused):
                until = "" if decision.until is None else f"; not before {decision.until:%Y-%m-%dT%H:%M:%SZ}"
                raise SimGate(decision.detail + until)
            warning = decision.warning
        return Outcome(sim_id, _same(session, sim_id, wish, _value(line, wish)), warning=warning)
    except (Conflict, Invalid) as refusal:
        return Outcome(sim_id, refusal=refusal)


def _must_be_possible(session: Session, line: Any, wish: Wish) -> None:
    if line.kind == CarrierKind.CSV:
        raise NoCarrier("the line's account has no interface: somebody must ask the carrier")
    try:
        can = carrier_of(CarrierKind(line.kind)).capabilities()
    except NotSpoken as error:
        raise NoCarrier(error.detail) from None
    if not line.enabled:
        raise NoCarrier("the line's account is off: nothing is sent to its carrier")
    if wish.kind not in can.acts:
        raise NoCarrier(f"the carrier's interface cannot do this ({wish.kind.value})")
    if line.effective_status == "terminated":
        raise Conflict("the line is terminated")
    if wish.kind is ActionKind.SPEED and wish.value not in can.speeds:
        raise _wrong(f"must be one of {', '.join(can.speeds)}")
    if wish.kind is ActionKind.PLAN:
        known = text("SELECT 1 FROM plan WHERE account_id = :account AND code = :code")
        if session.execute(known, {"account": line.account_id, "code": wish.value}).first() is None:
            raise _wrong("the account has no plan of this code")
    _value(line, wish)


def _value(line: Any, wish: Wish) -> str:
    """Return what an act carries: a speed class, a plan, or the radio that a line is to be bound to."""
    if wish.kind in (ActionKind.SPEED, ActionKind.PLAN):
        return wish.value
    if wish.kind is not ActionKind.LOCK_IMEI:
        return ""
    given = wish.value or line.imei
    if not given:
        raise _wrong("the tablet's IMEI is not in the ledger: give it")
    try:
        return identifiers.imei(given).digits
    except Invalid as error:
        raise _wrong(error.detail) from None


def _wrong(detail: str) -> Invalid:
    return Invalid(detail, errors=[{"pointer": "/value", "detail": detail}])


def _same(session: Session, sim_id: int, wish: Wish, value: str) -> SimAction | None:
    """Return the act under way that is the same. Another one makes way as long as it has not been sent.

    So does one that waits for a second person: whoever wants a single line now need not wait for that.
    """
    live = sim_actions.live_of(session, sim_id)
    if live is None:
        return None
    if live.state != ActionState.REQUESTED and (live.kind, live.value) == (wish.kind, value):
        return live
    if live.state in (ActionState.SENT, ActionState.ACCEPTED):
        detail = f"{ActionKind(live.kind).value} is on its way to the carrier; ask again when that has ended"
        raise UnderWay(detail)
    sim_actions.take_back(session, live, "overtaken by another wish")
    return None


def _place(
    session: Session, who: Principal | str, lines: Sequence[Any], wish: Wish, *, held: bool
) -> dict[int, SimAction]:
    """Write acts, paid from the budget or under a request for a second person."""
    what = f"sim.{wish.kind.value}"
    actor = who if isinstance(who, str) else who.actor
    approval_id = None
    if held:
        assert isinstance(who, Principal)
        subject = subject_of(lines, wish.kind, wish.value)
        approval_id = approvals.request(
            session, who, action=what, subject=subject, reason=wish.reason, right=Action.CONTROL_SIMS
        ).id
    else:
        # A line in no tablet disrupts nobody.
        budgets.spend(session, who, Safety.B, [each.device_id for each in lines if each.device_id], what=what)
    now = clock.now()
    placed = {}
    for line in lines:
        action = SimAction(
            sim_id=line.id,
            device_id=line.device_id,
            kind=wish.kind,
            value=_value(line, wish),
            state=ActionState.REQUESTED if held else ActionState.APPROVED,
            reason=wish.reason.strip()[:400],
            idempotency_key=str(uuid4()),
            requested_by=actor[:80],
            requested_at=now,
            due_at=now,
            approval_id=approval_id,
            approved_at=None if held else now,
            expires_at=now + (approvals.LIFETIME if held else LIFETIME),
        )
        session.add(action)
        session.flush()
        session.refresh(action)
        if not held:
            sim_actions.intend(session, action)
        placed[line.id] = action
    # Not the reason: people write names into it, and the trail is for ever. Nor the value: it may be an IMEI.
    subject_name = f"sim:{lines[0].id}" if len(lines) == 1 else "sims"
    details = {"sims": [each.id for each in lines], "approval": None if approval_id is None else str(approval_id)}
    chain.record(session, who, what, subject_name, details)
    jobs.ring(session, Job.CARRIERS)
    return placed


def subject_of(lines: Sequence[Any], kind: ActionKind, value: str) -> dict[str, Any]:
    """Return what a second person agrees to: which lines, in which tablets, and what is done to them."""
    devices = [
        {"id": each.device_id, "serial": each.serial, "control_number": each.control_number, "sim": each.id}
        for each in sorted(lines, key=lambda each: each.id)
        if each.device_id is not None
    ]
    free = sorted(each.id for each in lines if each.device_id is None)
    return {"devices": devices, "free_sims": free, "kind": kind.value, "value": value, "everywhere": bool(free)}
