"""The operator API of plans and pools. It reads and shows; the rules are in `plans` and `pools`."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from mdm import clock
from mdm.auth import Action, Principal, may
from mdm.cellular import plans, pools
from mdm.cellular.models import Overage, PlanVersion
from mdm.cellular.plans import PlanLine
from mdm.db import SessionDep

router = APIRouter(prefix="/api/v1", tags=["carriers"])

_MOST_BYTES = 10**15
_Bytes = Annotated[int, Field(ge=0, le=_MOST_BYTES)]
_Yen = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2)]
_Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\s=+\-@'][^\x00-\x1f]*$")]
"""Not empty, and nothing that a spreadsheet would run: it stands in exports."""
_WHEN = "An instant with its offset, `now`, or `next_cycle`."


class Terms(BaseModel):
    """What a line may use and what that costs. Bytes are exact."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    allowance_bytes: _Bytes | None = Field(
        default=None, description="Per line and cycle; null is without limit.", examples=[7_000_000_000]
    )
    daily_bytes: _Bytes | None = Field(default=None, description="Above this in one day the carrier slows the line.")
    unit_base: Literal[1000, 1024] = Field(default=1000, description="What the carrier calls a kilobyte.")
    overage: Overage = Overage.NONE
    throttle_bps: int | None = Field(default=None, ge=0, le=10**9, examples=[300_000])
    price_yen: _Yen | None = Field(default=None, description="Per line and cycle, without tax.", examples=["1200.00"])
    overage_yen_per_gb: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=4)] | None = Field(
        default=None, examples=["300.0000"]
    )


class TermsOut(Terms):
    """Terms with the time in which they are in force."""

    model_config = ConfigDict(from_attributes=True)

    valid_from: datetime
    valid_to: datetime | None = Field(description="Exclusive; null is until further notice.")
    set_by: str


class SetTerms(Terms):
    """New terms and when they begin."""

    effective: AwareDatetime | Literal["now", "next_cycle"] = Field(default="next_cycle", description=_WHEN)


class PlanOut(BaseModel):
    """A rate plan by the carrier's own name for it."""

    id: int
    account: str = Field(examples=["soracom-1"])
    code: str = Field(examples=["plan-7gb"])
    name: str
    sims: int
    versions: list[TermsOut] = Field(description="Newest first.")


class NewPlan(BaseModel):
    """A new plan, without terms yet."""

    model_config = ConfigDict(extra="forbid")

    account: str = Field(min_length=1, max_length=64)
    code: _Word = Field(description="As the carrier's interface and files call it.", examples=["plan-7gb"])
    name: str = Field(default="", max_length=100)


class PoolOut(BaseModel):
    """A pool as it stands in the present cycle."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    account: str = Field(examples=["icms-1"])
    name: str = Field(examples=["share-1"])
    overage: Overage
    throttle_bps: int | None
    sims: int = Field(description="Lines in it now.")
    joining: int = Field(description="Lines that are to join later.")
    leaving: int = Field(description="Lines whose leaving is planned.")
    allowance_bytes: int = Field(description="What it may use in this cycle, with what was bought on top.")
    fixed_bytes: int | None = Field(description="Null: the sum of its lines' plans counts.")
    plan_bytes: int
    unlimited: int = Field(description="Lines whose plan has no allowance, or no terms yet; they add nothing.")
    extra_bytes: int


class NewPool(BaseModel):
    """A new, empty pool."""

    model_config = ConfigDict(extra="forbid")

    account: str = Field(min_length=1, max_length=64)
    name: _Word
    allowance_bytes: _Bytes | None = Field(default=None, description="Null: the sum of its lines' plans.")
    overage: Overage = Overage.THROTTLE
    throttle_bps: int | None = Field(default=None, ge=0, le=10**9, examples=[300_000])


class MoveLines(BaseModel):
    """Lines that join or leave a pool."""

    model_config = ConfigDict(extra="forbid")

    sim_ids: list[int] = Field(min_length=1, max_length=20_000)
    leave: bool = Field(default=False, description="Take them out instead.")
    effective: AwareDatetime | Literal["now", "next_cycle"] = Field(default="next_cycle", description=_WHEN)
    reason: str = Field(min_length=1, max_length=400, examples=["new year"])


class MovedOut(BaseModel):
    """What a change of memberships did."""

    model_config = ConfigDict(from_attributes=True)

    moved: int
    unchanged: int
    effective: datetime


class BuyExtra(BaseModel):
    """Capacity that was bought for the present cycle."""

    model_config = ConfigDict(extra="forbid")

    bytes: int = Field(gt=0, le=_MOST_BYTES, examples=[100_000_000_000])
    price_yen: _Yen | None = Field(default=None, examples=["50000.00"])
    reason: str = Field(min_length=1, max_length=400)


def _instant(when: datetime | str) -> datetime | None:
    if isinstance(when, datetime):
        return when
    return clock.now() if when == "now" else None


def _plan(line: PlanLine) -> PlanOut:
    versions = [TermsOut.model_validate(version) for version in line.versions]
    return PlanOut(
        id=line.plan.id or 0,
        account=line.account,
        code=line.plan.code,
        name=line.plan.name,
        sims=line.sims,
        versions=versions,
    )


@router.get("/plans", operation_id="listPlans", summary="Rate plans and their terms")
def list_plans(
    session: SessionDep,
    _principal: Annotated[Principal, Depends(may(Action.READ_SIMS))],
    account: Annotated[str | None, Query(max_length=64)] = None,
) -> list[PlanOut]:
    """List all plans with their terms in time."""
    return [_plan(line) for line in plans.every(session, account=account)]


@router.post("/plans", operation_id="addPlan", status_code=201, summary="Add a rate plan")
def add_plan(
    body: NewPlan, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.MANAGE_CARRIERS))]
) -> PlanOut:
    """Add a plan; imports and carriers' lists add the ones they name by themselves. Terms are set apart."""
    plan = plans.add(session, principal, account=body.account, code=body.code, name=body.name)
    return _plan(PlanLine(plan, body.account, (), 0))


@router.post("/plans/{plan_id}/terms", operation_id="setPlanTerms", status_code=201, summary="Set a plan's terms")
def set_plan_terms(
    plan_id: int,
    body: SetTerms,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_CARRIERS))],
) -> TermsOut:
    """Give a plan new terms, from the next cycle on unless said otherwise; the former ones end there and are kept."""
    terms = body.model_dump(exclude={"effective"})
    version: PlanVersion = plans.set_terms(session, principal, plan_id, terms, effective=_instant(body.effective))
    return TermsOut.model_validate(version)


@router.get("/pools", operation_id="listPools", summary="Pools of lines")
def list_pools(session: SessionDep, _principal: Annotated[Principal, Depends(may(Action.READ_SIMS))]) -> list[PoolOut]:
    """List all pools with what they may use in the present cycle."""
    return [PoolOut.model_validate(line) for line in pools.every(session)]


@router.post("/pools", operation_id="addPool", status_code=201, summary="Add a pool")
def add_pool(
    body: NewPool, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.MANAGE_CARRIERS))]
) -> PoolOut:
    """Add an empty pool."""
    pool = pools.add(session, principal, **body.model_dump())
    return PoolOut.model_validate(pools.find(session, pool.id or 0))


@router.get("/pools/{pool_id}", operation_id="showPool", summary="One pool")
def show_pool(
    pool_id: int, session: SessionDep, _principal: Annotated[Principal, Depends(may(Action.READ_SIMS))]
) -> PoolOut:
    """Show one pool; its lines are found with `GET /sims?pool=`."""
    return PoolOut.model_validate(pools.find(session, pool_id))


@router.post("/pools/{pool_id}/members", operation_id="movePoolMembers", summary="Put lines into a pool, or out of it")
def move_members(
    pool_id: int,
    body: MoveLines,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_SIMS))],
) -> MovedOut:
    """Let lines join or leave, from the next cycle on unless said otherwise; what was planned for later is replaced."""
    moved = pools.move(
        session,
        principal,
        body.sim_ids,
        pool_id,
        leave=body.leave,
        effective=_instant(body.effective),
        reason=body.reason,
    )
    return MovedOut.model_validate(moved)


@router.post("/pools/{pool_id}/extra", operation_id="buyPoolExtra", status_code=201, summary="Note bought capacity")
def buy_extra(
    pool_id: int,
    body: BuyExtra,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_CARRIERS))],
) -> PoolOut:
    """Note capacity that was bought for the present cycle; it counts at once. Nothing is bought by this."""
    pools.buy_extra(session, principal, pool_id, size=body.bytes, price_yen=body.price_yen, reason=body.reason)
    return PoolOut.model_validate(pools.find(session, pool_id))
