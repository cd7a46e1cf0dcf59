"""The operator API of forecasts: the newest ones, how good past ones were, a look back. It reads and shows."""

from dataclasses import asdict
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from mdm import clock
from mdm.auth import Action, Principal, may
from mdm.cellular import accounts
from mdm.cellular.forecast import making, scores, views
from mdm.cellular.models import Watched
from mdm.db import SessionDep
from mdm.errors import NotFound

router = APIRouter(prefix="/api/v1/usage/forecasts", tags=["usage"])


class ForecastOut(BaseModel):
    """What something will have used when its cycle ends. Bytes."""

    model_config = ConfigDict(from_attributes=True)

    scope: Watched
    scope_id: int
    name: str | None = Field(description="account/pool, a school's code, or a tablet's control number.")
    made_on: date
    cycle_start: date
    used_bytes: int = Field(description="Up to the day before it was made.")
    p10: int = Field(description="One in ten comes to less.")
    p50: int
    p90: int = Field(description="One in ten comes to more.")
    allowance_bytes: int | None = Field(description="Of a pool in this cycle; null: without limit, or not a pool.")


class ScoreOut(BaseModel):
    """How good the forecasts were that were made on one day of their cycle."""

    model_config = ConfigDict(from_attributes=True)

    scope: Watched
    day: int = Field(description="Days of the cycle that were over.", examples=[10])
    forecasts: int
    error: float = Field(description="Median of |p50 / actual - 1|.", examples=[0.042])
    bias: float = Field(description="Median of p50 / actual - 1: above zero is too high.")
    inside: float = Field(description="The part that lay between p10 and p90; 0.8 would be right.")
    run_rate: float | None = Field(default=None, description="The error of going on straight; in a look back only.")
    last_cycle: float | None = Field(default=None, description="The error of repeating the last cycle; the same.")


@router.get("", operation_id="listForecasts", summary="The newest forecasts")
def list_forecasts(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_USAGE))]
) -> list[ForecastOut]:
    """List the newest forecasts of the fleet, pools and schools; people of some schools see those schools' only."""
    return [ForecastOut.model_validate(each) for each in views.newest(session, principal.scope)]


@router.get("/sims/{sim_id}", operation_id="showSimForecast", summary="One line's forecast")
def show_sim_forecast(
    sim_id: int, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_USAGE))]
) -> ForecastOut:
    """Show what one line will have used when its cycle ends."""
    found = views.of_sim(session, principal.scope, sim_id)
    if found is None:
        raise NotFound("there is no forecast of such a line")
    return ForecastOut.model_validate(found)


@router.get("/scores", operation_id="scoreForecasts", summary="How good the forecasts were that were made")
def score_forecasts(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_USAGE))],
    months: Annotated[int, Query(ge=1, le=36)] = 6,
) -> list[ScoreOut]:
    """Score the forecasts that were kept of cycles that are over, by the day of the cycle they were made on."""
    accounts.must_be_everywhere(principal)
    since = making.day_of(clock.now()) - timedelta(days=31 * months)
    return [ScoreOut.model_validate(each) for each in scores.of_kept(session, since=since)]


@router.get("/backtest", operation_id="backtestForecasts", summary="What would have been forecast")
def backtest_forecasts(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_USAGE))],
    cycles: Annotated[int, Query(ge=1, le=12, description="So many cycles that are over.")] = 3,
    day: Annotated[list[int] | None, Query(max_length=6, description="Days of the cycle; 5, 10 and 20.")] = None,
) -> list[ScoreOut]:
    """Forecast past cycles of the ledger anew, as it would have been done then, and compare with what they came to.

    The fleet, schools and pools; beside them going on at the same rate, and repeating the last cycle.
    """
    accounts.must_be_everywhere(principal)
    days = sorted({each for each in day or (5, 10, 20) if 0 < each < 28})
    found = scores.back(session, clock.now(), count=cycles, days=days)
    return [ScoreOut.model_validate(asdict(each)) for each in found]
