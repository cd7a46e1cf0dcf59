"""The life of an act for a line, from the wish to the carrier's own word that it is so. Sends nothing itself.

Each step is one function, guarded by the worker's lease. `effective` comes from reading the line back, nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlmodel import Session, col, select, update

from mdm import clock
from mdm.audit import chain
from mdm.auth import SCOPE_SQL, Scope
from mdm.cellular.carriers.values import SimRecord
from mdm.cellular.models import LIVE_ACTIONS, ActionKind, ActionState, Sim, SimAction, SimStatus
from mdm.devices import identifiers
from mdm.errors import Conflict, NotFound
from mdm.safeguards import notices

ACTOR: Final = "system:carriers"
_LEASE_S: Final = 120.0
_AT_ONCE: Final = 200
_STATUS: Final = {ActionKind.SUSPEND: SimStatus.SUSPENDED, ActionKind.RESUME: SimStatus.ACTIVE}


@dataclass(frozen=True, slots=True)
class Shown:
    """An act as it is listed, with the tablet its line is in now."""

    action: SimAction
    control_number: str | None


def live_of(session: Session, sim_id: int) -> SimAction | None:
    """Return the act that is under way for a line, locked."""
    live = [state.value for state in LIVE_ACTIONS]
    statement = select(SimAction).where(SimAction.sim_id == sim_id, col(SimAction.state).in_(live))
    return session.exec(statement.with_for_update().execution_options(populate_existing=True)).first()


def newest_of(session: Session, sim_id: int) -> SimAction | None:
    """Return the latest act of a line."""
    statement = select(SimAction).where(SimAction.sim_id == sim_id).order_by(col(SimAction.id).desc()).limit(1)
    return session.exec(statement.execution_options(populate_existing=True)).first()


def listed(
    session: Session,
    scope: Scope,
    *,
    sim_id: int | None = None,
    state: ActionState | None = None,
    before: UUID | None = None,
    limit: int,
) -> list[Shown]:
    """Return acts of lines in scope, newest first."""
    rows = session.execute(
        text(
            "SELECT x.id, d.control_number FROM sim_action x"
            " LEFT JOIN sim_binding b ON b.sim_id = x.sim_id AND b.valid_to IS NULL"
            f" LEFT JOIN device d ON d.id = b.device_id WHERE {SCOPE_SQL.format(column='d.school_id')}"
            " AND (CAST(:sim AS bigint) IS NULL OR x.sim_id = :sim)"
            " AND (CAST(:state AS text) IS NULL OR x.state = :state)"
            " AND (CAST(:before AS uuid) IS NULL OR x.id < :before) ORDER BY x.id DESC LIMIT :limit"
        ),
        {"schools": scope.parameter, "sim": sim_id, "state": state, "before": before, "limit": limit},
    ).all()
    statement = select(SimAction).where(col(SimAction.id).in_([row.id for row in rows]))
    found = {each.id: each for each in session.exec(statement.execution_options(populate_existing=True))}
    return [Shown(found[row.id], row.control_number) for row in rows]


def intend(session: Session, action: SimAction) -> None:
    """Note on the line what is wanted of it from now on."""
    line = session.get_one(Sim, action.sim_id, populate_existing=True)
    kind = ActionKind(action.kind)
    if kind in _STATUS:
        line.intended_status, line.intended_at = _STATUS[kind], clock.now()
    elif kind is ActionKind.SPEED:
        line.intended_speed = action.value
    line.updated_at = clock.now()
    session.add(line)
    session.flush()


def take_back(session: Session, action: SimAction, why: str) -> None:
    """End an act that was not sent; `Conflict` for one that was. What is wanted of the line is what it is."""
    if action.state not in (ActionState.REQUESTED, ActionState.APPROVED):
        raise Conflict("it has been sent to the carrier, or is over")
    _end(session, action, ActionState.CANCELLED, why)
    line = session.get_one(Sim, action.sim_id, populate_existing=True)
    if action.kind in _STATUS and line.intended_status == _STATUS[ActionKind(action.kind)]:
        line.intended_status = line.effective_status
    if action.kind == ActionKind.SPEED and line.intended_speed == action.value:
        line.intended_speed = line.effective_speed
    session.add(line)
    session.flush()


def find(session: Session, scope: Scope, action_id: UUID) -> SimAction:
    """Return an act of a line in scope, locked."""
    statement = (
        "SELECT x.id FROM sim_action x LEFT JOIN sim_binding b ON b.sim_id = x.sim_id AND b.valid_to IS NULL"
        f" LEFT JOIN device d ON d.id = b.device_id WHERE x.id = :id AND {SCOPE_SQL.format(column='d.school_id')}"
        " FOR UPDATE OF x"
    )
    if session.execute(text(statement), {"id": action_id, "schools": scope.parameter}).first() is None:
        raise NotFound("there is no such act")
    return session.get_one(SimAction, action_id, populate_existing=True)


def is_due(session: Session, account_id: int) -> bool:
    """Say whether a worker has something to do for lines of an account."""
    return bool(session.execute(text(f"SELECT EXISTS ({_DUE})"), {"account": account_id}).scalar_one())


def claim(session: Session, account_id: int) -> SimAction | None:
    """Lease the act of an account's line that has been due longest; suspending and resuming go first."""
    row = session.execute(
        text(f"{_DUE} ORDER BY x.kind IN ('suspend', 'resume') DESC, x.due_at LIMIT 1 FOR UPDATE OF x SKIP LOCKED"),
        {"account": account_id},
    ).first()
    if row is None:
        return None
    action = session.get_one(SimAction, row.id, populate_existing=True)
    action.lease_token = uuid4()
    action.lease_until = _in(session, _LEASE_S)
    session.add(action)
    session.flush()
    return action


_DUE: Final = (
    "SELECT x.id FROM sim_action x JOIN sim s ON s.id = x.sim_id WHERE s.account_id = :account"
    " AND x.state IN ('approved', 'sent', 'accepted') AND x.due_at <= now()"
    " AND (x.lease_until IS NULL OR x.lease_until <= now())"
)


def mark_sent(session: Session, action: SimAction) -> bool:
    """Note that an act is about to leave, and return whether it may: the lease holds, and goes on."""
    kept: dict[str, Any] = {"lease_token": action.lease_token, "lease_until": action.lease_until}
    return move(session, action, ActionState.SENT, sent_at=clock.now(), tries=action.tries + 1, **kept)


def move(session: Session, action: SimAction, state: ActionState, *, wait_s: float = 0, **fields: Any) -> bool:
    """Write a step of a leased act, give the lease back, and return whether it still held."""
    values = {"state": state.value, "due_at": _in(session, wait_s), "lease_until": None, "lease_token": None, **fields}
    statement = (
        update(SimAction)
        .where(col(SimAction.id) == action.id, col(SimAction.lease_token) == action.lease_token)
        .values(**values)
        .returning(col(SimAction.id))
        .execution_options(synchronize_session=False)
    )
    return session.execute(statement).first() is not None


def settle(session: Session, action: SimAction, state: ActionState, error: str = "") -> None:
    """End a leased act. One that did not come about calls whoever is on duty if a line was to be cut or opened."""
    if not move(session, action, state, ended_at=clock.now(), error=error[:200]):
        return
    details = {"kind": ActionKind(action.kind).value, "state": state.value}
    chain.record(session, ACTOR, "sim.act", f"sim:{action.sim_id}", {**details, "action": str(action.id)})
    if state in (ActionState.FAILED, ActionState.EXPIRED) and action.kind in _STATUS:
        subject = f"A line could not be changed: {ActionKind(action.kind).value} has {state.value}"
        notices.page(session, "sim.act_failed", subject, {**details, "sim": action.sim_id, "error": error})


def expire(session: Session) -> int:
    """End the acts that have not come about in time, whether their account is asked or off; return how many."""
    statement = select(SimAction).where(
        col(SimAction.state).in_([ActionState.APPROVED.value, ActionState.SENT.value, ActionState.ACCEPTED.value]),
        col(SimAction.expires_at) <= clock.now(),
        col(SimAction.lease_until).is_(None) | (col(SimAction.lease_until) <= clock.now()),
    )
    over = session.exec(statement.limit(_AT_ONCE).with_for_update(skip_locked=True)).all()
    for action in over:
        settle(session, action, ActionState.EXPIRED, "the carrier has not said in time that it is so")
    return len(over)


def is_so(action: SimAction, record: SimRecord) -> bool:
    """Say whether a line, as the carrier has just told of it, is what the act wanted it to be."""
    kind = ActionKind(action.kind)
    if kind in _STATUS:
        return record.status is _STATUS[kind]
    if kind is ActionKind.SPEED:
        return record.speed == action.value
    if kind is ActionKind.PLAN:
        return record.plan == action.value
    if kind is ActionKind.UNLOCK_IMEI:
        return record.imei_lock is None
    return record.imei_lock is not None and identifiers.imei_key(record.imei_lock) == identifiers.imei_key(action.value)


def waiting_for_second(session: Session) -> Sequence[UUID]:
    """Return the requests for a second person that are decided or over, and whose acts wait still."""
    rows = session.execute(
        text(
            "SELECT DISTINCT a.id FROM sim_action x JOIN approval a ON a.id = x.approval_id"
            " WHERE x.state = 'requested' AND a.state <> 'pending'"
        )
    )
    return [row.id for row in rows]


def _end(session: Session, action: SimAction, state: ActionState, error: str) -> None:
    action.state, action.ended_at, action.error = state, clock.now(), error[:200]
    session.add(action)
    session.flush()


def _in(session: Session, seconds: float) -> datetime:
    statement = text("SELECT now() + make_interval(secs => :seconds)")
    moment: datetime = session.execute(statement, {"seconds": seconds}).scalar_one()
    return moment
