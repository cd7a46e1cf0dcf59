"""Rate plans and their terms in time. Adds versions and ends them; what has been in force is never rewritten."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.auth import Action, Principal
from mdm.cellular import accounts, cycles
from mdm.cellular.models import CarrierAccount, Plan, PlanVersion
from mdm.errors import Conflict, Invalid, NotFound


@dataclass(frozen=True, slots=True)
class PlanLine:
    """A plan, its versions (newest first) and the number of its lines."""

    plan: Plan
    account: str
    versions: tuple[PlanVersion, ...]
    sims: int


def add(session: Session, principal: Principal, *, account: str, code: str, name: str) -> Plan:
    """Add a plan, without terms yet. `Conflict` where the account has one of this code."""
    principal.must(Action.MANAGE_CARRIERS)
    accounts.must_be_everywhere(principal)
    plan = Plan(account_id=accounts.find(session, account).id or 0, code=code, name=name or code)
    session.add(plan)
    try:
        session.flush()
    except IntegrityError:
        raise Conflict("the account has a plan of this code already") from None
    chain.record(session, principal, "plan.add", f"plan:{plan.id}", {"account": account, "code": code})
    return plan


def set_terms(
    session: Session, principal: Principal, plan_id: int, terms: Mapping[str, Any], *, effective: datetime | None
) -> PlanVersion:
    """Give a plan new terms from an instant on, that of the next cycle when None; those before end there.

    A first version may begin in the past. Later ones must begin after the newest did, and not before the present
    cycle: what closed cycles were counted by stays.
    """
    principal.must(Action.MANAGE_CARRIERS)
    accounts.must_be_everywhere(principal)
    plan = session.exec(select(Plan).where(Plan.id == plan_id).with_for_update()).first()
    if plan is None:
        raise NotFound("there is no such plan")
    newest = session.exec(
        select(PlanVersion).where(PlanVersion.plan_id == plan_id).order_by(col(PlanVersion.valid_from).desc()).limit(1)
    ).first()
    account = session.get_one(CarrierAccount, plan.account_id)
    start = next_cycle(account) if effective is None else effective
    if newest is not None:
        if start <= newest.valid_from:
            raise Invalid("the terms must begin after those before them did", errors=_field("the date is too early"))
        if start < this_cycle(account):
            raise Invalid("the terms of cycles that are over stay", errors=_field("lies before the present cycle"))
        newest.valid_to = start
        session.add(newest)
        session.flush()
    version = PlanVersion(plan_id=plan_id, valid_from=start, set_by=principal.actor[:80], **terms)
    session.add(version)
    session.flush()
    session.refresh(version)
    details = {"from": start.isoformat(), "terms": {key: str(value) for key, value in terms.items()}}
    chain.record(session, principal, "plan.set_terms", f"plan:{plan_id}", details)
    return version


def every(session: Session, *, account: str | None = None) -> list[PlanLine]:
    """Return all plans with their versions; there are a few of each account."""
    statement = select(Plan, CarrierAccount.name).join(CarrierAccount, col(CarrierAccount.id) == Plan.account_id)
    if account is not None:
        statement = statement.where(CarrierAccount.name == account)
    counts: dict[int, int] = {
        row.plan_id: row.sims
        for row in session.execute(text("SELECT plan_id, count(*) AS sims FROM sim GROUP BY plan_id"))
    }
    versions: dict[int, list[PlanVersion]] = {}
    for version in session.exec(select(PlanVersion).order_by(col(PlanVersion.valid_from).desc())):
        versions.setdefault(version.plan_id, []).append(version)
    return [
        PlanLine(plan, name, tuple(versions.get(plan.id or 0, ())), counts.get(plan.id or 0, 0))
        for plan, name in session.exec(statement.order_by(CarrierAccount.name, Plan.code))
    ]


def this_cycle(account: CarrierAccount) -> datetime:
    """Return the instant at which an account's present cycle began."""
    cycle = cycles.at(clock.now(), account.cycle_anchor_day, account.billing_tz)
    return cycles.begins(cycle.start, account.billing_tz)


def next_cycle(account: CarrierAccount) -> datetime:
    """Return the instant at which an account's next cycle begins."""
    cycle = cycles.at(clock.now(), account.cycle_anchor_day, account.billing_tz)
    return cycles.begins(cycle.end, account.billing_tz)


def _field(detail: str) -> list[dict[str, str]]:
    return [{"pointer": "/effective", "detail": detail}]
