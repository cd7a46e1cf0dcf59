"""The newest forecasts as they are shown, within a scope. A single line's is shown by the line's own id."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import Row, text
from sqlmodel import Session

from mdm.auth import SCOPE_SQL, Scope
from mdm.cellular import pools
from mdm.cellular.forecast.making import METHOD
from mdm.cellular.models import Watched

_SHOWN: Final = f"""
SELECT f.scope, f.scope_id, coalesce(a.name || '/' || p.name, c.code, t.control_number) AS name, f.made_on,
    f.cycle_start, f.used_bytes, f.p10, f.p50, f.p90
FROM forecast_snapshot f
LEFT JOIN plan_pool p ON f.scope = 'pool' AND p.id = f.scope_id LEFT JOIN carrier_account a ON a.id = p.account_id
LEFT JOIN school c ON f.scope = 'school' AND c.id = f.scope_id
LEFT JOIN sim_binding b ON f.scope = 'sim' AND b.sim_id = f.scope_id AND b.valid_to IS NULL
LEFT JOIN device t ON t.id = b.device_id
WHERE f.method = '{METHOD}' AND {SCOPE_SQL.format(column="coalesce(c.id, t.school_id)")}
    AND f.made_on = (SELECT max(made_on) FROM forecast_snapshot WHERE scope = 'fleet')
"""
_ORDER: Final = " ORDER BY array_position(ARRAY['fleet', 'pool', 'school', 'sim'], f.scope::text), name"


@dataclass(frozen=True, slots=True)
class Shown:
    """One forecast. `name` is account/pool, a school's code or a tablet's control number; bytes."""

    scope: Watched
    scope_id: int
    name: str | None
    made_on: date
    cycle_start: date
    used_bytes: int
    p10: int
    p50: int
    p90: int
    allowance_bytes: int | None


def newest(session: Session, scope: Scope) -> list[Shown]:
    """Return the newest forecasts of the fleet, pools and schools; for people of some schools, only of those."""
    rows = session.execute(text(f"{_SHOWN} AND f.scope <> 'sim' {_ORDER}"), {"schools": scope.parameter}).all()
    allowed = {line.id: line.allowance_bytes or None for line in pools.every(session)} if rows else {}
    return [_shown(row, allowed.get(row.scope_id) if row.scope == Watched.POOL else None) for row in rows]


def of_sim(session: Session, scope: Scope, sim_id: int) -> Shown | None:
    """Return the newest forecast of one line; None where there is none, or it is outside the scope."""
    statement = text(f"{_SHOWN} AND f.scope = 'sim' AND f.scope_id = :sim")
    row = session.execute(statement, {"schools": scope.parameter, "sim": sim_id}).first()
    return None if row is None else _shown(row, None)


def _shown(row: Row[Any], allowance: int | None) -> Shown:
    return Shown(**{**row._mapping, "scope": Watched(row.scope), "allowance_bytes": allowance})  # noqa: SLF001 - SQLAlchemy's public name for it
