"""The rules of use as people set them: of what, compared how, from when on, what is done then. Evaluates nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.auth import Action, Principal
from mdm.cellular import accounts
from mdm.cellular.models import ThresholdRule, Watched
from mdm.errors import Invalid, NotFound


class Metric(StrEnum):
    """What is compared with the limit."""

    USED = "used"
    """Used in the cycle so far."""
    DAY = "day"
    """Used in one of the last days."""
    FORECAST = "forecast"
    """The middle of the forecast for the end of the cycle."""
    FORECAST_HIGH = "forecast_high"
    """What one in ten such cycles exceeds."""


class Act(StrEnum):
    """What is done when a limit is passed."""

    NOTE = "note"
    """Kept, and told to nobody."""
    TELL_TABLET = "tell_tablet"
    TELL_SCHOOL = "tell_school"
    WARN = "warn"
    PAGE = "page"
    """Whoever is on duty is called."""
    RESTRICT = "restrict"
    """The line is slowed by the carrier, or its applications by a policy."""


METRICS: Final[Mapping[Watched, frozenset[Metric]]] = {
    Watched.SIM: frozenset({Metric.USED, Metric.DAY, Metric.FORECAST}),
    Watched.POOL: frozenset({Metric.USED, Metric.FORECAST, Metric.FORECAST_HIGH}),
    Watched.SCHOOL: frozenset({Metric.USED, Metric.FORECAST, Metric.FORECAST_HIGH}),
    Watched.FLEET: frozenset({Metric.USED, Metric.FORECAST, Metric.FORECAST_HIGH}),
}
"""Of what a rule can be, and what it can compare there."""
_HAVE_ALLOWANCE: Final = (Watched.SIM, Watched.POOL)
_OF_LINES: Final = (Act.TELL_TABLET, Act.RESTRICT)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rule as it is to be."""

    scope: Watched
    scope_id: int | None
    metric: Metric
    level: int
    limit_bytes: int | None
    limit_percent: int | None
    act: Act
    after_days: int | None = None
    """Only so many days after the level below it fired, so that a stage has time to work."""
    automatic: bool = False
    """A restriction is asked for without a person's word."""
    speed: str | None = None
    """The carrier's speed class for it; its slowest when absent."""
    active: bool = True
    reason: str = ""


def every(session: Session) -> list[ThresholdRule]:
    """Return all rules, those of the same kind together."""
    order = (ThresholdRule.scope, ThresholdRule.metric, ThresholdRule.level, ThresholdRule.id)
    return list(session.exec(select(ThresholdRule).order_by(*(col(each) for each in order))))


def add(session: Session, principal: Principal, wanted: Wanted) -> ThresholdRule:
    """Add a rule. `Invalid` names the field that does not fit."""
    _may(principal)
    rule = ThresholdRule(**_columns(wanted), set_by=principal.actor[:80], set_at=clock.now())
    session.add(rule)
    session.flush()
    chain.record(session, principal, "usage_rule.add", f"usage_rule:{rule.id}", _details(rule))
    return rule


def change(session: Session, principal: Principal, rule_id: int, wanted: Wanted) -> ThresholdRule:
    """Change a rule in place: what has fired in this cycle does not fire again because of it."""
    _may(principal)
    rule = session.get(ThresholdRule, rule_id, with_for_update=True)
    if rule is None:
        raise NotFound("there is no such rule")
    before = _details(rule)
    for name, value in _columns(wanted).items():
        setattr(rule, name, value)
    rule.set_by, rule.set_at = principal.actor[:80], clock.now()
    session.add(rule)
    session.flush()
    details = {"before": before, "now": _details(rule)}
    chain.record(session, principal, "usage_rule.change", f"usage_rule:{rule.id}", details)
    return rule


def find(session: Session, rule_id: int) -> ThresholdRule:
    """Return one rule."""
    rule = session.get(ThresholdRule, rule_id)
    if rule is None:
        raise NotFound("there is no such rule")
    return rule


def wanted_of(rule: ThresholdRule) -> Wanted:
    """Return a rule as somebody would ask for it."""
    return Wanted(
        scope=Watched(rule.scope),
        scope_id=rule.scope_id,
        metric=Metric(rule.metric),
        level=rule.level,
        limit_bytes=rule.limit_bytes,
        limit_percent=rule.limit_percent,
        act=Act(rule.action),
        after_days=rule.parameters.get("after_days"),
        automatic=bool(rule.parameters.get("automatic")),
        speed=rule.parameters.get("speed"),
        active=rule.active,
        reason=rule.reason,
    )


def _may(principal: Principal) -> None:
    principal.must(Action.MANAGE_CARRIERS)
    accounts.must_be_everywhere(principal)


def _columns(wanted: Wanted) -> dict[str, Any]:
    wrong = list(_wrong(wanted))
    if wrong:
        raise Invalid("such a rule cannot be", errors=[{"pointer": f"/{at}", "detail": said} for at, said in wrong])
    parameters = {"after_days": wanted.after_days, "automatic": wanted.automatic or None, "speed": wanted.speed}
    return {
        "scope": wanted.scope,
        "scope_id": wanted.scope_id,
        "metric": wanted.metric.value,
        "level": wanted.level,
        "limit_bytes": wanted.limit_bytes,
        "limit_percent": wanted.limit_percent,
        "action": wanted.act.value,
        "parameters": {name: value for name, value in parameters.items() if value is not None},
        "active": wanted.active,
        "reason": wanted.reason.strip()[:400],
    }


def _wrong(wanted: Wanted) -> list[tuple[str, str]]:
    metrics = METRICS.get(wanted.scope, frozenset())
    found = []
    if not metrics:
        found.append(("scope", f"a rule is of {', '.join(each.value for each in METRICS)}"))
    elif wanted.metric not in metrics:
        found.append(("metric", f"of a {wanted.scope.value}: {', '.join(sorted(metrics))}"))
    if (wanted.limit_bytes is None) == (wanted.limit_percent is None):
        found.append(("limit_bytes", "give either limit_bytes or limit_percent"))
    if wanted.limit_percent is not None and wanted.scope not in _HAVE_ALLOWANCE:
        found.append(("limit_percent", "only lines and pools have an allowance; give limit_bytes"))
    if wanted.act in _OF_LINES and wanted.scope is not Watched.SIM:
        found.append(("act", f"{wanted.act.value} is for single lines"))
    if (wanted.automatic or wanted.speed is not None) and wanted.act is not Act.RESTRICT:
        found.append(("act", "only a restriction is automatic or has a speed"))
    return found


def _details(rule: ThresholdRule) -> dict[str, Any]:
    """Return what goes on record. Not the reason: people write names into it, and the trail is for ever."""
    names = ("scope", "scope_id", "metric", "level", "limit_bytes", "limit_percent", "action", "parameters", "active")
    return {name: str(value) if isinstance(value := getattr(rule, name), StrEnum) else value for name in names}
