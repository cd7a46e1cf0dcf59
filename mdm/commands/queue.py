"""Put commands in line: what is asked of which tablet, held or queued. Knows neither platforms nor HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, text
from sqlalchemy import select as sa_select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from mdm.auth import Action, Principal, Scope
from mdm.auth.rights import Safety
from mdm.commands import decisions, transitions
from mdm.commands.arguments import check_arguments
from mdm.commands.decisions import Keep, Live, Place, Refuse, Target, Wish
from mdm.commands.kinds import FACTS, Kind, action_of, safety_of
from mdm.commands.models import LIVE_STATES, Command, CommandState
from mdm.devices.models import Device, Enrollment
from mdm.errors import Attempt, Conflict, Forbidden, Invalid, MdmError, NotFound
from mdm.safeguards import approvals, breaker, budgets, seasoned, thresholds

LIVE = text(f"state IN ({', '.join(repr(state.value) for state in LIVE_STATES)})")
"""In words, not as parameters: a plan that PostgreSQL keeps cannot tell from a parameter which index is meant."""

_BULK = 10
"""More tablets than this at once, and something disruptive takes a person who has just proved to be there."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a wish for one tablet: a command (fresh, or the one that was live already) or a refusal."""

    device_id: int
    serial: str
    command: Command | None = None
    fresh: bool = False
    refusal: MdmError | None = None


def enqueue(
    session: Session,
    who: Principal | str,
    device_ids: Sequence[int],
    wish: Kind | Wish,
    arguments: Mapping[str, Any],
    *,
    reason: str = "",
) -> list[Outcome]:
    """Ask one thing of each tablet, in the order given. The same intent twice gives back the live command.

    A class A command is held until a second person approves, and goes to one tablet at a time. `who` may be the name
    of a job (`job:upkeep`), which has no scope and may not ask for class A. A tablet outside the principal's scope is
    refused as `NotFound`. Raises `Invalid` for arguments, `Forbidden` without the right to the kind, `BudgetSpent` when
    not all of it is within the budgets (then nothing is asked for), `Frozen`; refusals of single tablets are in the
    outcomes.
    """
    wanted = list(dict.fromkeys(device_ids))
    _may_ask(session, who, wish, len(wanted))
    scope = who.scope if isinstance(who, Principal) else Scope(all_schools=True)
    ours = _locked(session, scope, wanted)
    # In this order: what ends between the two has left its mark on the target, and a switch is never seen as neither.
    live = _live_of(session, ours)
    targets = {target.device_id: target for target in _targets(session, ours)}
    checked: dict[Kind, dict[str, Any]] = {}
    outcomes = []
    placed: list[tuple[Target, Place]] = []
    for device_id in wanted:
        target = targets.get(device_id)
        if target is None:
            _unseen(who, wish)
            outcomes.append(Outcome(device_id, "", refusal=NotFound("there is no such tablet")))
            continue
        kind = decisions.resolve(wish, target)
        if kind not in checked:
            checked[kind] = dict(arguments) if isinstance(who, str) else check_arguments(kind, arguments)
        decision = decisions.decide(kind, checked[kind], target, live.get((device_id, target.epoch), []))
        match decision:
            case Refuse(error):
                outcomes.append(Outcome(device_id, target.serial, refusal=error))
            case Keep(command_id):
                command = session.get_one(Command, command_id)
                outcomes.append(_kept(target, command, checked[kind]))
            case Place():
                placed.append((target, decision))
    fresh = _place(session, who, placed, checked, reason)
    outcomes += [Outcome(target.device_id, target.serial, fresh[target.device_id], fresh=True) for target, _ in placed]
    order = {device_id: number for number, device_id in enumerate(wanted)}
    return sorted(outcomes, key=lambda outcome: order[outcome.device_id])


def _may_ask(session: Session, who: Principal | str, wish: Kind | Wish, count: int) -> None:
    class_a = isinstance(wish, Kind) and decisions.needs_approval(wish)
    if isinstance(who, Principal):
        who.must(Action.LOCK if wish is Wish.LOCK else action_of(wish))
        if wish is Kind.RENEW_IDENTITY:
            raise Invalid("identities are renewed by the server itself")
        if count > _BULK and (wish is Wish.LOCK or FACTS[wish].safety is Safety.B):
            who.must_be_fresh(who.minutes_for_bulk)
        if class_a:
            breaker.must_be_closed(session)
            seasoned.must_be(session, who.id, thresholds.current(session), what=f"ask for {wish.value}")
    elif class_a:
        raise Forbidden("a job may not ask for what cannot be undone")
    if class_a and count > 1:
        error = Forbidden("what cannot be undone is asked of one tablet at a time")
        if isinstance(who, Principal):
            error.attempt = Attempt(who.id, who.actor, wish.value)
        raise error


def _unseen(who: Principal | str, wish: Kind | Wish) -> None:
    """Raise the `NotFound` of a class A wish for a tablet out of reach: the breaker counts such attempts."""
    if isinstance(who, Principal) and isinstance(wish, Kind) and decisions.needs_approval(wish):
        error = NotFound("there is no such tablet")
        error.attempt = Attempt(who.id, who.actor, wish.value)
        raise error


def _locked(session: Session, scope: Scope, device_ids: Sequence[int]) -> list[int]:
    """Lock the ledger rows of the tablets in scope, so that wishes for one tablet stand in line; return their ids.

    A statement of its own: one that waits for a lock goes on reading other tables as they were before it waited.
    """
    statement = (
        select(Device.id)
        .where(col(Device.id).in_(device_ids), scope.covers(col(Device.school_id)))
        .order_by(col(Device.id))
        .with_for_update(key_share=True)
    )
    return [device_id for device_id in session.exec(statement) if device_id is not None]


def _targets(session: Session, device_ids: Sequence[int]) -> list[Target]:
    statement = (
        sa_select(
            col(Device.id),
            col(Device.serial),
            col(Device.control_number),
            col(Enrollment.status),
            col(Enrollment.epoch),
            col(Enrollment.supervised),
            col(Enrollment.lost_mode),
        )
        .join(Enrollment, col(Enrollment.device_id) == Device.id)
        .where(col(Device.id).in_(device_ids))
    )
    return [Target(*row) for row in session.execute(statement)]


def _live_of(session: Session, device_ids: Sequence[int]) -> dict[tuple[int, int], list[Live]]:
    """Return the live commands by tablet and epoch, oldest first."""
    statement = (
        select(Command)
        .where(col(Command.device_id).in_(device_ids), col(Command.state).in_(LIVE_STATES))
        .order_by(col(Command.id))
        .execution_options(populate_existing=True)
    )
    live: dict[tuple[int, int], list[Live]] = {}
    for command in session.exec(statement).all():
        assert command.id is not None
        each = Live(command.id, command.kind, command.state, command.dedupe_key)
        live.setdefault((command.device_id, command.epoch), []).append(each)
    return live


def _kept(target: Target, command: Command, arguments: Mapping[str, Any]) -> Outcome:
    if decisions.needs_approval(Kind(command.kind)) and command.arguments != arguments:
        detail = f"another {command.kind} is {command.state} for this tablet with other arguments; cancel it first"
        return Outcome(target.device_id, target.serial, refusal=Conflict(detail))
    return Outcome(target.device_id, target.serial, command)


def _place(
    session: Session,
    who: Principal | str,
    placed: Sequence[tuple[Target, Place]],
    arguments: Mapping[Kind, dict[str, Any]],
    reason: str,
) -> dict[int, Command]:
    if not placed:
        return {}
    _spend(session, who, [(target.device_id, place.kind) for target, place in placed])
    superseded = [command_id for _, place in placed for command_id in place.supersedes]
    transitions.supersede(session, superseded, note=f"by a newer {placed[0][1].kind.value}")
    rows = [_row(who, target, place, arguments[place.kind]) for target, place in placed]
    statement = (
        insert(Command)
        .values(rows)
        .on_conflict_do_nothing(index_elements=["device_id", "dedupe_key"], index_where=LIVE)
        .returning(Command)
    )
    fresh = {command.device_id: command for command in session.scalars(statement)}
    if len(fresh) != len(rows):
        raise Conflict("the same was asked for at the same moment; ask again")
    ids = [command.id for command in fresh.values() if command.id is not None]
    actor = who if isinstance(who, str) else who.actor
    transitions.log(session, ids, CommandState(rows[0]["state"]), f"asked for by {actor}")
    _follow_up(session, who, [(target, fresh[target.device_id]) for target, _ in placed], reason)
    return fresh


def _spend(session: Session, who: Principal | str, placed: Sequence[tuple[int, Kind]]) -> None:
    """Spend what these commands cost, each kind by its class; what was on its way already costs nothing again."""
    for kind in sorted({kind for _, kind in placed}):
        devices = [device_id for device_id, placed_kind in placed if placed_kind is kind]
        budgets.spend(session, who, safety_of(kind), devices, what=kind.value)
        if safety_of(kind) is Safety.A and isinstance(who, Principal):
            breaker.watch_spending(session, who, what=kind.value)


def _row(who: Principal | str, target: Target, place: Place, arguments: dict[str, Any]) -> dict[str, Any]:
    facts = FACTS[place.kind]
    held = decisions.needs_approval(place.kind)
    return {
        "device_id": target.device_id,
        "epoch": target.epoch,
        "kind": place.kind.value,
        "arguments": arguments,
        "dedupe_key": place.dedupe_key,
        "lane": int(facts.lane),
        "state": (CommandState.HELD if held else CommandState.QUEUED).value,
        "expires_at": func.now() + facts.lifetime,
        "created_by": who.id if isinstance(who, Principal) else None,
    }


def _follow_up(session: Session, who: Principal | str, fresh: Sequence[tuple[Target, Command]], reason: str) -> None:
    """Wake the tablets, or ask for the approval; and put the act on record (jobs' benign questions are not)."""
    for kind in sorted({command.kind for _, command in fresh}):
        facts = FACTS[Kind(kind)]
        mine = [(target, command) for target, command in fresh if command.kind == kind]
        if facts.safety is Safety.A:
            assert isinstance(who, Principal)
            for target, command in mine:
                subject = subject_of(command, serial=target.serial, control_number=target.control_number)
                approval = approvals.request(session, who, action=f"command.{kind}", subject=subject, reason=reason)
                command.approval_id = approval.id
                session.add(command)
        else:
            transitions.wake(session, [target.device_id for target, _ in mine], facts.lane)
        if isinstance(who, Principal) or facts.safety is not Safety.C:
            transitions.record(session, who, "command.enqueue", [command for _, command in mine])
    session.flush()


def subject_of(command: Command, *, serial: str, control_number: str) -> dict[str, Any]:
    """Return the subject of a command's approval: exactly what would be done to exactly which tablet."""
    return {
        "command": {
            "id": str(command.id),
            "kind": command.kind,
            "arguments": command.arguments,
            "epoch": command.epoch,
        },
        "devices": [{"id": command.device_id, "serial": serial, "control_number": control_number}],
    }
