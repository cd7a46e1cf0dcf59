"""What pools used so far in their present cycle, beside what they may and what is forecast. Whole pools only."""

from dataclasses import dataclass
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session, select

from mdm import clock
from mdm.auth.principal import Scope
from mdm.cellular import cycles
from mdm.cellular import pools as kept
from mdm.cellular.forecast import views
from mdm.cellular.models import CarrierAccount, Watched
from mdm.cellular.usage import reading

_EVERYWHERE: Final = Scope(all_schools=True)


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """A pool's cycle so far. Bytes."""

    id: int
    account: str
    name: str
    cycle_start: date
    sims: int
    used_bytes: int
    allowance_bytes: int | None
    """None: a line of it is without limit."""
    p50: int | None
    p90: int | None


def pools(session: Session) -> list[PoolUsage]:
    """Return all pools, for people of the whole district."""
    now = clock.now()
    accounts = {account.name: account for account in session.exec(select(CarrierAccount))}
    forecasts = {each.scope_id: each for each in views.newest(session, _EVERYWHERE) if each.scope is Watched.POOL}
    found = []
    for pool in kept.every(session):
        account = accounts[pool.account]
        cycle = cycles.at(now, account.cycle_anchor_day, account.billing_tz)
        today = now.astimezone(ZoneInfo(account.billing_tz)).date()
        forecast = forecasts.get(pool.id)
        current = forecast if forecast is not None and forecast.cycle_start == cycle.start else None
        found.append(
            PoolUsage(
                pool.id,
                pool.account,
                pool.name,
                cycle.start,
                pool.sims,
                reading.of_pool(session, pool.id, cycle.start, today, tz=account.billing_tz),
                pool.allowance_bytes if not pool.unlimited or pool.fixed_bytes is not None else None,
                None if current is None else current.p50,
                None if current is None else current.p90,
            )
        )
    return found
