"""Pools of lines that share their allowances: who is in which from when to when, and what was bought on top.

A change takes effect when the account's next cycle begins, unless it says otherwise, as carriers do it (on the 1st).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from mdm import clock
from mdm.audit import chain
from mdm.auth import Action, Principal
from mdm.cellular import accounts, cycles, plans
from mdm.cellular.locks import hold
from mdm.cellular.models import CarrierAccount, Overage, PlanPool, PoolExtra
from mdm.errors import Conflict, Invalid, NotFound


@dataclass(frozen=True, slots=True)
class PoolLine:
    """A pool as it stands: members now, members that are planned, and what it may use in the present cycle."""

    id: int
    account: str
    name: str
    overage: Overage
    throttle_bps: int | None
    sims: int
    joining: int
    leaving: int
    fixed_bytes: int | None
    plan_bytes: int
    """The sum of its lines' plans."""
    unlimited: int
    """Lines whose plan has no allowance, or no terms yet."""
    extra_bytes: int

    @property
    def allowance_bytes(self) -> int:
        """What it may use in this cycle."""
        return (self.plan_bytes if self.fixed_bytes is None else self.fixed_bytes) + self.extra_bytes


@dataclass(frozen=True, slots=True)
class Moved:
    """What a change of memberships did."""

    moved: int
    unchanged: int
    effective: datetime


_POOLS = """
SELECT p.id, a.name AS account, p.name, p.overage, p.throttle_bps,
    count(m.sim_id) FILTER (WHERE m.now) AS sims, count(m.sim_id) FILTER (WHERE NOT m.now) AS joining,
    count(m.sim_id) FILTER (WHERE m.now AND m.valid_to IS NOT NULL) AS leaving,
    p.allowance_bytes AS fixed_bytes, coalesce(sum(v.allowance_bytes) FILTER (WHERE m.now), 0)::bigint AS plan_bytes,
    count(m.sim_id) FILTER (WHERE m.now AND v.allowance_bytes IS NULL) AS unlimited,
    (SELECT coalesce(sum(x.bytes), 0)::bigint FROM pool_extra x JOIN unnest(CAST(:accounts AS bigint[]),
        CAST(:starts AS date[])) c (account_id, start) ON c.account_id = p.account_id AND c.start = x.cycle_start
        WHERE x.pool_id = p.id) AS extra_bytes
FROM plan_pool p JOIN carrier_account a ON a.id = p.account_id
LEFT JOIN LATERAL (SELECT m.sim_id, m.valid_to, m.valid_from <= :at AS now FROM pool_membership m
    WHERE m.pool_id = p.id AND (m.valid_to IS NULL OR m.valid_to > :at)) m ON true
LEFT JOIN sim s ON s.id = m.sim_id
LEFT JOIN plan_version v ON v.plan_id = s.plan_id AND v.valid_from <= :at AND (v.valid_to IS NULL OR v.valid_to > :at)
WHERE CAST(:pool AS bigint) IS NULL OR p.id = :pool
GROUP BY p.id, a.name ORDER BY a.name, p.name
"""


def every(session: Session, *, pool_id: int | None = None) -> list[PoolLine]:
    """Return the pools as they stand now, or one of them."""
    now = clock.now()
    held = session.exec(select(CarrierAccount)).all()
    starts = [cycles.at(now, account.cycle_anchor_day, account.billing_tz).start for account in held]
    parameters = {"at": now, "pool": pool_id, "accounts": [account.id for account in held], "starts": starts}
    return [
        PoolLine(**{**row._mapping, "overage": Overage(row.overage)})  # noqa: SLF001 - SQLAlchemy's public name for it
        for row in session.execute(text(_POOLS), parameters)
    ]


def find(session: Session, pool_id: int) -> PoolLine:
    """Return one pool as it stands."""
    found = every(session, pool_id=pool_id)
    if not found:
        raise NotFound("there is no such pool")
    return found[0]


def add(
    session: Session,
    principal: Principal,
    *,
    account: str,
    name: str,
    allowance_bytes: int | None,
    overage: Overage,
    throttle_bps: int | None,
) -> PlanPool:
    """Add an empty pool. `Conflict` where the account has one of this name."""
    principal.must(Action.MANAGE_CARRIERS)
    accounts.must_be_everywhere(principal)
    pool = PlanPool(
        account_id=accounts.find(session, account).id or 0,
        name=name,
        allowance_bytes=allowance_bytes,
        overage=overage,
        throttle_bps=throttle_bps,
    )
    session.add(pool)
    try:
        session.flush()
    except IntegrityError:
        raise Conflict("the account has a pool of this name already") from None
    chain.record(session, principal, "pool.add", f"pool:{pool.id}", {"account": account, "name": name})
    return pool


def buy_extra(
    session: Session, principal: Principal, pool_id: int, *, size: int, price_yen: Decimal | None, reason: str
) -> PoolExtra:
    """Note capacity that was bought for the present cycle; it counts at once. Buys nothing itself."""
    principal.must(Action.MANAGE_CARRIERS)
    accounts.must_be_everywhere(principal)
    account = _account_of(session, pool_id)
    start = cycles.at(clock.now(), account.cycle_anchor_day, account.billing_tz).start
    extra = PoolExtra(
        pool_id=pool_id,
        cycle_start=start,
        bytes=size,
        price_yen=price_yen,
        reason=reason,
        bought_by=principal.actor[:80],
        bought_at=clock.now(),
    )
    session.add(extra)
    session.flush()
    details = {"bytes": size, "cycle": start.isoformat()}
    chain.record(session, principal, "pool.buy", f"pool:{pool_id}", details)
    return extra


def move(
    session: Session,
    principal: Principal,
    sim_ids: Sequence[int],
    pool_id: int,
    *,
    leave: bool = False,
    effective: datetime | None = None,
    reason: str,
) -> Moved:
    """Put lines into a pool, or take them out of it with `leave`, from an instant on: the next cycle's when None.

    What was planned for later is replaced. `Invalid` for lines of another account and for an instant before the
    present cycle: closed cycles stay as they were counted.
    """
    principal.must(Action.MANAGE_SIMS)
    accounts.must_be_everywhere(principal)
    account = _account_of(session, pool_id)
    hold(session)
    start = plans.next_cycle(account) if effective is None else effective
    if start < plans.this_cycle(account):
        detail = "lies before the present cycle"
        raise Invalid("memberships of cycles that are over stay", errors=[{"pointer": "/effective", "detail": detail}])
    wanted = sorted(set(sim_ids))
    _refuse_strangers(session, wanted, account.id or 0)
    concerned = _members(session, wanted, pool_id, start) if leave else wanted
    wishes: dict[int, int | None] = dict.fromkeys(concerned, None if leave else pool_id)
    moved = join(session, wishes, start, by=principal.actor, reason=reason)
    details = {"sims": moved[:1000], "count": len(moved), "from": start.isoformat(), "leave": leave}
    if moved:
        chain.record(session, principal, "pool.move", f"pool:{pool_id}", details)
    return Moved(len(moved), len(wanted) - len(moved), start)


_WISHES = "unnest(CAST(:sims AS bigint[]), CAST(:pools AS bigint[])) AS w (sim_id, pool_id)"


def join(session: Session, wishes: dict[int, int | None], start: datetime, *, by: str, reason: str) -> list[int]:
    """Write memberships from `start` on (None: in no pool) and return the SIMs for which that is a change.

    For whoever holds the inventory and has asked whether it may.
    """
    parameters = {"sims": list(wishes), "pools": list(wishes.values()), "start": start}
    # Who is in that pool then, and stays, needs nothing; who is in none then, and wishes none, neither.
    rows = session.execute(
        text(
            f"SELECT w.sim_id, w.pool_id FROM {_WISHES}"
            " LEFT JOIN pool_membership m ON m.sim_id = w.sim_id AND (m.valid_to IS NULL OR m.valid_to > :start)"
            " GROUP BY w.sim_id, w.pool_id HAVING NOT CASE WHEN w.pool_id IS NULL THEN count(m.id) = 0 ELSE count(m.id)"
            " = 1 AND bool_and(m.pool_id = w.pool_id AND m.valid_from <= :start AND m.valid_to IS NULL) END"
            " ORDER BY w.sim_id"
        ),
        parameters,
    ).all()
    moved: list[int] = [row.sim_id for row in rows]
    changed = {
        "sims": moved,
        "pools": [row.pool_id for row in rows],
        "start": start,
        "by": by[:80],
        "reason": reason[:400],
    }
    those = "sim_id = ANY(CAST(:sims AS bigint[]))"
    session.execute(text(f"DELETE FROM pool_membership WHERE {those} AND valid_from >= :start"), changed)
    session.execute(
        text(f"UPDATE pool_membership SET valid_to = :start WHERE {those} AND (valid_to IS NULL OR valid_to > :start)"),
        changed,
    )
    session.execute(
        text(
            "INSERT INTO pool_membership (pool_id, sim_id, valid_from, reason, set_by)"
            f" SELECT w.pool_id, w.sim_id, :start, :reason, :by FROM {_WISHES} WHERE w.pool_id IS NOT NULL"
        ),
        changed,
    )
    return moved


def _members(session: Session, sim_ids: Sequence[int], pool_id: int, start: datetime) -> list[int]:
    """Return those that are in the pool at an instant, or are to join it later."""
    rows = session.execute(
        text(
            "SELECT DISTINCT sim_id FROM pool_membership WHERE pool_id = :pool"
            " AND sim_id = ANY(CAST(:sims AS bigint[]))"
            " AND (valid_to IS NULL OR valid_to > :start)"
        ),
        {"pool": pool_id, "sims": list(sim_ids), "start": start},
    )
    return list(rows.scalars())


def _account_of(session: Session, pool_id: int) -> CarrierAccount:
    pool = session.exec(select(PlanPool).where(PlanPool.id == pool_id)).first()
    if pool is None:
        raise NotFound("there is no such pool")
    return session.get_one(CarrierAccount, pool.account_id)


def _refuse_strangers(session: Session, sim_ids: Sequence[int], account_id: int) -> None:
    known = session.execute(
        text("SELECT id FROM sim WHERE id = ANY(CAST(:sims AS bigint[])) AND account_id = :account"),
        {"sims": list(sim_ids), "account": account_id},
    ).scalars()
    strangers = set(sim_ids) - set(known)
    if strangers:
        errors = [{"pointer": "/sim_ids", "detail": f"sim {each}: not of this account"} for each in sorted(strangers)]
        raise Invalid("a pool takes lines of its own account only", errors=errors[:50])
