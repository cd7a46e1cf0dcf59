"""Budgets of what can do harm: spent where it is asked for, counted again where it leaves. Fails closed; sends nothing.

Everything is counted in Postgres, in the transaction that does it, one at a time: two requests cannot both take the
last unit, and a rollback gives it back. A cancelled command gives nothing back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm.audit import chain
from mdm.auth import Principal
from mdm.auth.rights import Action, Safety
from mdm.errors import Attempt, Conflict
from mdm.safeguards import proven, thresholds
from mdm.safeguards.threshold_values import Name

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR


class Pot(StrEnum):
    """What is counted together."""

    A = "a"
    """What cannot be undone, per tablet."""
    APPROVALS = "approvals"
    """Having approved it; counts with what the same person asks for."""
    B = "b"
    """What disrupts and can be undone, per tablet."""
    ACTS = "acts"
    """Changes of what is there, per act: a rollout to 15,000 tablets is one."""
    ACCOUNTS = "accounts"
    """Changes of who may do what."""


_IRREVERSIBLE: Final = (Pot.A, Pot.APPROVALS)


@dataclass(frozen=True, slots=True)
class _Limit:
    name: Name
    window_s: int
    of: str
    """`operator`, `school` or `fleet`."""


_LIMITS: Final[Mapping[Pot, tuple[_Limit, ...]]] = {
    Pot.A: (
        _Limit(Name.A_OPERATOR_HOUR, _HOUR, "operator"),
        _Limit(Name.A_OPERATOR_DAY, _DAY, "operator"),
        _Limit(Name.A_SCHOOL_HOUR, _HOUR, "school"),
        _Limit(Name.A_FLEET_HOUR, _HOUR, "fleet"),
        _Limit(Name.A_FLEET_DAY, _DAY, "fleet"),
    ),
    Pot.APPROVALS: (
        _Limit(Name.A_OPERATOR_HOUR, _HOUR, "operator"),
        _Limit(Name.A_OPERATOR_DAY, _DAY, "operator"),
    ),
    Pot.B: (_Limit(Name.B_OPERATOR_HOUR, _HOUR, "operator"), _Limit(Name.B_FLEET_HOUR, _HOUR, "fleet")),
    Pot.ACTS: (_Limit(Name.ACTS_OPERATOR_HOUR, _HOUR, "operator"), _Limit(Name.ACTS_FLEET_HOUR, _HOUR, "fleet")),
    Pot.ACCOUNTS: (
        _Limit(Name.ACCOUNTS_OPERATOR_HOUR, _HOUR, "operator"),
        _Limit(Name.ACCOUNTS_FLEET_HOUR, _HOUR, "fleet"),
    ),
}

PAID_ELSEWHERE: Final = frozenset(
    {
        # Spent per tablet, by `spend`.
        Action.ASK,
        Action.LOCK,
        Action.LOCATE,
        Action.REQUEST_WIPE,
        # The desk's work on a case must never wait; what it asks of tablets is spent per tablet.
        Action.WORK_LOSS,
        Action.WORK_REPAIR,
        # Two persons each time, and no way out of an attack may run dry.
        Action.APPROVE,
        Action.APPROVE_EXCEPTION,
        Action.THAW,
        Action.LOOSEN,
        Action.RUN_CAMPAIGN,
    }
)
_ACCOUNTS: Final = frozenset({Action.MANAGE_OPERATORS, Action.MANAGE_ORGANIZATIONS})


class BudgetSpent(Conflict):
    """More of this was asked for than is usual in a while."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    slug = "budget-spent"

    def __init__(self, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Leaving(Protocol):
    """A class A command on its way out."""

    id: UUID | None
    device_id: int
    created_by: int | None
    kind: str


def pot_of(action: Action, safety: Safety) -> Pot | None:
    """Return the pot from which one act through a route is paid; None where it is free or paid per tablet."""
    if safety is Safety.C or action in PAID_ELSEWHERE:
        return None
    return Pot.ACCOUNTS if action in _ACCOUNTS else Pot.ACTS


def spend(session: Session, who: Principal | str, safety: Safety, device_ids: Sequence[int], *, what: str) -> None:
    """Spend one unit for each tablet, in the transaction that asks for it; class C is free.

    Raises `BudgetSpent` when there is not enough left for all of them. `what` is the kind of command.
    """
    if safety is Safety.C or not device_ids:
        return
    pot = Pot.A if safety is Safety.A else Pot.B
    operator = who.id if isinstance(who, Principal) else None
    chain.stand_in_line(session)
    _must_be_left(session, who, pot, list(device_ids), what)
    session.execute(
        text(
            "INSERT INTO budget_entry (pot, operator_id, school_id, device_id, what)"
            " SELECT :pot, CAST(:operator AS bigint), d.school_id, d.id, :what FROM device d"
            " WHERE d.id = ANY(CAST(:devices AS bigint[])) ORDER BY d.id"
        ),
        {"pot": pot.value, "operator": operator, "devices": list(device_ids), "what": what[:64]},
    )


def spend_approval(session: Session, principal: Principal, *, what: str) -> None:
    """Spend one unit of class A of whoever approves it: one colluding person is bounded like one who asks."""
    chain.stand_in_line(session)
    _must_be_left(session, principal, Pot.APPROVALS, [], what)
    _add(session, principal, Pot.APPROVALS, what)


def spend_act(session: Session, principal: Principal, pot: Pot, *, what: str) -> None:
    """Spend one unit for an act that is about no single tablet. Raises `BudgetSpent`.

    For a short transaction of its own: acts can be long, and whoever spends holds up all others.
    """
    chain.stand_in_line(session)
    _must_be_left(session, principal, pot, [], what)
    _add(session, principal, pot, what)


def _add(session: Session, principal: Principal, pot: Pot, what: str) -> None:
    session.execute(
        text("INSERT INTO budget_entry (pot, operator_id, what) VALUES (:pot, :operator, :what)"),
        {"pot": pot.value, "operator": principal.id, "what": what[:64]},
    )


def recheck(
    session: Session, command: Leaving, *, signers: Sequence[int] = (), campaign_id: UUID | None = None
) -> None:
    """Count, where a class A command really leaves, what has left already; then put it on record. Once per command.

    Neither the entries of requests nor the name of the requester are believed: who signed counts as well, and their
    signatures were verified by the caller. Looser thresholds hold only where they are signed (`proven`). A command that
    was let go before and called back is not counted twice. A campaign's commands are on record without being counted:
    its waves bound them (`campaign_id`).
    """
    chain.stand_in_line(session)
    gone = text("SELECT 1 FROM class_a_release WHERE command_id = :id")
    if session.execute(gone, {"id": command.id}).first() is not None:
        return
    if campaign_id is None:
        held = proven.current(session)
        people = sorted({*signers, *([command.created_by] if command.created_by is not None else [])})
        for limit in _LIMITS[Pot.A]:
            for person in people if limit.of == "operator" else [None]:
                found = _left_already(session, limit, command.device_id, person)
                if found + 1 > held[limit.name]:
                    raise BudgetSpent(_sentence(limit, held[limit.name]))
    session.execute(
        text(
            "INSERT INTO class_a_release (command_id, device_id, school_id, requested_by, signers, campaign_id)"
            " SELECT :id, d.id, d.school_id, :asker, CAST(:signers AS bigint[]), :campaign"
            " FROM device d WHERE d.id = :device"
        ),
        {
            "id": command.id,
            "asker": command.created_by,
            "signers": list(signers),
            "campaign": campaign_id,
            "device": command.device_id,
        },
    )


def _left_already(session: Session, limit: _Limit, device_id: int, person: int | None) -> int:
    statement = text(
        "SELECT count(*) FROM class_a_release WHERE campaign_id IS NULL"
        " AND at > statement_timestamp() - make_interval(secs => :window)"
        " AND (:of <> 'operator' OR requested_by = CAST(:person AS bigint) OR CAST(:person AS bigint) = ANY(signers))"
        " AND (:of <> 'school' OR school_id = (SELECT d.school_id FROM device d WHERE d.id = :device))"
    )
    values = {"window": limit.window_s, "of": limit.of, "person": person, "device": device_id}
    return int(session.execute(statement, values).scalar_one())


def _must_be_left(session: Session, who: Principal | str, pot: Pot, device_ids: Sequence[int], what: str) -> None:
    held = thresholds.current(session)
    operator = who.id if isinstance(who, Principal) else None
    for limit in _LIMITS[pot]:
        match limit.of:
            case "operator":
                wanted = {} if operator is None else {operator: max(1, len(device_ids))}
            case "school":
                wanted = _by_school(session, device_ids)
            case _:
                wanted = {0: max(1, len(device_ids))}
        for key, count in wanted.items():
            spent, wait = _spent(session, pot, limit, key)
            if spent + count > held[limit.name]:
                error = BudgetSpent(_sentence(limit, held[limit.name]), retry_after=wait)
                if pot in _IRREVERSIBLE and isinstance(who, Principal):
                    error.attempt = Attempt(who.id, who.actor, what)
                raise error


def _by_school(session: Session, device_ids: Sequence[int]) -> dict[int, int]:
    statement = "SELECT school_id, count(*) FROM device WHERE id = ANY(CAST(:devices AS bigint[])) GROUP BY school_id"
    rows = session.execute(text(statement), {"devices": list(device_ids)})
    return {row[0]: row[1] for row in rows}


def _spent(session: Session, pot: Pot, limit: _Limit, key: int) -> tuple[int, int | None]:
    """Return how much of a limit is spent, and in how many seconds the oldest of it is over."""
    pots = _IRREVERSIBLE if pot in _IRREVERSIBLE and limit.of == "operator" else (pot,)
    row = session.execute(
        text(
            "SELECT count(*), extract(epoch FROM min(at) + make_interval(secs => :window) - statement_timestamp())"
            " FROM budget_entry WHERE pot = ANY(CAST(:pots AS text[]))"
            " AND at > statement_timestamp() - make_interval(secs => :window)"
            " AND (:of <> 'operator' OR operator_id = :key) AND (:of <> 'school' OR school_id = :key)"
        ),
        {"window": limit.window_s, "pots": [each.value for each in pots], "of": limit.of, "key": key},
    ).one()
    return row[0], None if row[1] is None else max(1, int(row[1]))


def _sentence(limit: _Limit, most: int) -> str:
    whose = {"operator": "one operator", "school": "one school", "fleet": "all together"}[limit.of]
    span = "an hour" if limit.window_s == _HOUR else "a day"
    return f"the budget is spent: {most} {span} for {whose} ({limit.name.value}); two administrators can raise it"
