"""Carries out what is wanted of lines: sends it, and reads the line back until the carrier says that it is so.

An act is marked as sent before it leaves. If its answer is lost, the line is read before it is asked for again. No
transaction is open while a carrier is asked.
"""

import time
from collections import Counter
from typing import Any, Final

import structlog
from sqlmodel import Session, select

from mdm import clock, db
from mdm.cellular import line_gate, line_records, polling, sim_actions, sim_approvals
from mdm.cellular.carriers.connection import Connection
from mdm.cellular.carriers.switchboard import Carrier
from mdm.cellular.carriers.values import Act, Busy, CarrierError, Denied, Refused, SimKey, SimRecord
from mdm.cellular.models import ActionKind, ActionState, CarrierAccount, Sim, SimAction
from mdm.cellular.polling import Turn
from mdm.cellular.sim_gate import Refused as Gated
from mdm.safeguards import notices

_log = structlog.get_logger(__name__)

_FIRST_LOOK_S: Final = 5.0
_LONGEST_LOOK_S: Final = 300.0
"""Lines are read back after 5 seconds, 10, 20 and so on up to this."""


def tidy() -> None:
    """Let go what second persons have agreed to, take back what they have not, and end what has taken too long."""
    with db.transaction() as session:
        sim_actions.expire(session)
        decided = sim_actions.waiting_for_second(session)
    for approval_id in decided:
        with db.transaction() as session:
            sim_approvals.follow(session, approval_id)


def is_due(session: Session, account_id: int) -> bool:
    """Say whether an account's lines have something due."""
    return sim_actions.is_due(session, account_id)


def carry_out(
    carrier: Carrier, connection: Connection, account: CarrierAccount, turn: Turn, *, until: float, done: Counter[str]
) -> None:
    """Take one act after the other a step further, as long as something is due and there is time."""
    while time.monotonic() < until:
        with db.transaction() as session:
            polling.save(session, turn, {})
            action = sim_actions.claim(session, account.id or 0)
            line = None if action is None else session.get_one(Sim, action.sim_id)
        if action is None or line is None:
            break
        done[_step(carrier, connection, account, action, line)] += 1
    with db.transaction() as session:
        polling.put_off(session, turn, 0)


def _step(carrier: Carrier, connection: Connection, account: CarrierAccount, action: SimAction, line: Sim) -> str:
    """Take an act one step further and return where it stands."""
    try:
        key = line_records.key_of(line, carrier.capabilities())
        if action.state != ActionState.APPROVED:
            record = _read_back(carrier, connection, account, action, key)
            if sim_actions.is_so(action, record):
                return _end(action, ActionState.EFFECTIVE)
            if action.state == ActionState.ACCEPTED:
                return _look_again(action)
        return _send(carrier, connection, account, action, Act(ActionKind(action.kind), key, action.value, line.imsi))
    except Busy as busy:
        # Neither done nor refused: where it stands is where it stood.
        _move(action, ActionState(action.state), wait_s=busy.retry_after_s)
        raise
    except Denied:  # not even reading is let in: somebody has to look at the account, and then this goes on
        _look_again(action)
        raise
    except Refused as error:
        return _end(action, ActionState.FAILED, error.detail)
    except CarrierError as error:
        _log.warning("act_unclear", action=str(action.id), error=type(error).__name__, outcome=error.detail)
        return _look_again(action)


def _send(carrier: Carrier, connection: Connection, account: CarrierAccount, action: SimAction, act: Act) -> str:
    """Send an act, marked as sent before; through the gate once more, for it may have waited."""
    with db.transaction() as session:
        if action.kind == ActionKind.SUSPEND:
            decision = line_gate.judge(session, action.sim_id, reason=action.reason, wished_after=action.requested_at)
            if isinstance(decision, Gated):
                return _gated(session, action, decision.detail)
        if not sim_actions.mark_sent(session, action):
            return "lost"
    before, action.state = action.state, ActionState.SENT
    try:
        receipt = carrier.act(connection, act, idempotency_key=action.idempotency_key)
    except Busy:
        action.state = before
        raise
    except Denied as error:
        return _denied(account, action, error)
    except Refused as error:
        # It may be so already: the line itself says.
        if sim_actions.is_so(action, _read_back(carrier, connection, account, action, act.key)):
            return _end(action, ActionState.EFFECTIVE)
        raise error from None
    fields = {"accepted_at": clock.now(), "carrier_ref": receipt.carrier_ref[:128], "tries": 0, "error": ""}
    _move(action, ActionState.ACCEPTED, wait_s=_FIRST_LOOK_S, **fields)
    return ActionState.ACCEPTED.value


def _read_back(
    carrier: Carrier, connection: Connection, account: CarrierAccount, action: SimAction, key: SimKey
) -> SimRecord:
    """Read the line from its carrier, and write what it says: the only thing that changes what is effective."""
    asked_at = clock.now()
    record = carrier.sim(connection, key)
    with db.transaction() as session:
        line_records.apply(session, account.id or 0, [record], asked_at=asked_at, sim_id=action.sim_id)
    return record


def _look_again(action: SimAction) -> str:
    wait = min(_FIRST_LOOK_S * 2 ** min(action.tries, 8), _LONGEST_LOOK_S)
    _move(action, ActionState(action.state), wait_s=wait, tries=action.tries + 1)
    return ActionState(action.state).value


def _gated(session: Session, action: SimAction, detail: str) -> str:
    held = session.exec(select(SimAction).where(SimAction.id == action.id).with_for_update()).one()
    if held.lease_token != action.lease_token:
        return "lost"
    if held.state == ActionState.APPROVED:
        sim_actions.take_back(session, held, detail)
    else:  # sent before, its answer lost: what it has done, the next list says
        sim_actions.settle(session, action, ActionState.FAILED, detail)
    return "gated"


def _denied(account: CarrierAccount, action: SimAction, error: Denied) -> str:
    """End an act that the key may not do, and call somebody: asking again would not help."""
    with db.transaction() as session:
        sim_actions.settle(session, action, ActionState.FAILED, error.detail)
        details = {"account": account.name, "kind": ActionKind(action.kind).value, "error": error.detail}
        notices.page(session, "carrier.denied", f"The account {account.name} may not change its lines", details)
    return ActionState.FAILED.value


def _end(action: SimAction, state: ActionState, error: str = "") -> str:
    with db.transaction() as session:
        sim_actions.settle(session, action, state, error)
    return state.value


def _move(action: SimAction, state: ActionState, *, wait_s: float, **fields: Any) -> None:
    with db.transaction() as session:
        sim_actions.move(session, action, state, wait_s=wait_s, **fields)
