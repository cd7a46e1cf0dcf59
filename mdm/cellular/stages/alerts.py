"""Limits that were passed, as they are listed within a scope, and settled by a person."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.audit import chain
from mdm.auth import SCOPE_SQL, Action, Principal, Scope
from mdm.cellular.models import Watched
from mdm.errors import Conflict, NotFound

_ALERTS: Final = f"""
SELECT e.id, e.rule_id, e.scope, e.scope_id, r.metric, e.level, e.cycle_start, e.value_bytes, e.limit_bytes, e.action,
    e.done, e.note, e.fired_at, e.settled_at, d.control_number, c.code AS school, o.name || '/' || p.name AS pool
FROM threshold_event e JOIN threshold_rule r ON r.id = e.rule_id
LEFT JOIN sim_binding b ON e.scope = 'sim' AND b.sim_id = e.scope_id AND b.valid_to IS NULL
LEFT JOIN device d ON d.id = b.device_id
LEFT JOIN school c ON c.id = CASE WHEN e.scope = 'school' THEN e.scope_id ELSE d.school_id END
LEFT JOIN plan_pool p ON e.scope = 'pool' AND p.id = e.scope_id LEFT JOIN carrier_account o ON o.id = p.account_id
WHERE {SCOPE_SQL.format(column="c.id")}
"""


@dataclass(frozen=True, slots=True)
class Alert:
    """A limit that was passed. The line is shown by its tablet's control number, and nobody's name."""

    id: int
    rule_id: int
    scope: Watched
    scope_id: int
    metric: str
    level: int
    cycle_start: date
    value_bytes: int
    limit_bytes: int
    action: str
    done: str
    note: str
    fired_at: datetime
    settled_at: datetime | None
    control_number: str | None
    school: str | None
    pool: str | None


def listed(
    session: Session, scope: Scope, *, school: str | None, waiting: bool, before: int | None, limit: int
) -> list[Alert]:
    """Return alerts in scope, newest first; only those that wait for a person with `waiting`."""
    rows = session.execute(
        text(
            f"{_ALERTS} AND (CAST(:school AS text) IS NULL OR c.code = :school)"
            " AND (NOT :waiting OR (e.settled_at IS NULL AND e.done <> ''))"
            " AND (CAST(:before AS bigint) IS NULL OR e.id < :before) ORDER BY e.id DESC LIMIT :limit"
        ),
        {"schools": scope.parameter, "school": school, "waiting": waiting, "before": before, "limit": limit},
    )
    return [Alert(*row) for row in rows]


def find(session: Session, scope: Scope, alert_id: int) -> Alert:
    """Return one alert in scope."""
    row = session.execute(text(f"{_ALERTS} AND e.id = :id"), {"schools": scope.parameter, "id": alert_id}).first()
    if row is None:
        raise NotFound("there is no such alert")
    return Alert(*row)


def settle(session: Session, principal: Principal, alert_id: int, *, said: str) -> Alert:
    """Note by a person's word what was done about an alert that waits; `Conflict` for one that does not."""
    principal.must(Action.MANAGE_SIMS)
    find(session, principal.scope, alert_id)
    settled = session.execute(
        text(
            "UPDATE threshold_event SET settled_at = :now, done = left(:said, 200)"
            " WHERE id = :id AND settled_at IS NULL AND done <> '' RETURNING id"
        ),
        {"now": clock.now(), "said": said, "id": alert_id},
    ).first()
    if settled is None:
        raise Conflict("this alert waits for nobody")
    # Not the words: people write names into them, and the trail is for ever.
    chain.record(session, principal, "usage_alert.settle", f"usage_alert:{alert_id}")
    return find(session, principal.scope, alert_id)
