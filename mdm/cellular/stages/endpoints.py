"""The operator API of rules of use and of limits that were passed. It reads and shows; the rules are in `rules`."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from mdm.api import Page, Paging, page_of
from mdm.auth import Action, Principal, may
from mdm.cellular.models import ThresholdRule, Watched
from mdm.cellular.stages import alerts, rules, slowing
from mdm.cellular.stages.rules import Act, Metric, Wanted
from mdm.db import SessionDep

router = APIRouter(prefix="/api/v1/usage", tags=["usage"])

_Bytes = Annotated[int, Field(ge=1, le=10**17)]


class RuleIn(BaseModel):
    """A limit, and what is done the first time in a cycle that it is passed."""

    model_config = ConfigDict(extra="forbid")

    scope: Watched = Field(examples=["sim"])
    scope_id: int | None = Field(default=None, ge=0, le=2**62, description="Null: each of them.")
    metric: Metric = Metric.USED
    level: int = Field(ge=1, le=9, description="Its place among the stages.")
    limit_bytes: _Bytes | None = Field(default=None, examples=[14_000_000_000])
    limit_percent: int | None = Field(default=None, ge=1, le=10_000, description="Of the allowance of line or pool.")
    act: Act = Field(examples=["tell_school"])
    after_days: int | None = Field(default=None, ge=0, le=31, description="So long after a lower level fired.")
    automatic: bool = Field(default=False, description="A restriction asks the carrier without a person's word.")
    speed: str | None = Field(default=None, max_length=32, description="The carrier's class; its slowest when null.")
    active: bool = True
    reason: str = Field(default="", max_length=400)


class RuleOut(RuleIn):
    """A rule with who set it last."""

    id: int
    set_by: str
    set_at: datetime


class AlertOut(BaseModel):
    """A limit that was passed: once per rule, subject and cycle, and never taken back."""

    model_config = ConfigDict(from_attributes=True)

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
    done: str = Field(description="What was in fact done, and by which means.")
    note: str = Field(description="What corrections have said since.")
    fired_at: datetime
    settled_at: datetime | None = Field(description="Null: it waits for a person, or has not been looked at yet.")
    control_number: str | None = Field(description="Of the tablet that the line is in.")
    school: str | None
    pool: str | None


class SettleAlert(BaseModel):
    """What a person did about it."""

    model_config = ConfigDict(extra="forbid")

    done: str = Field(min_length=1, max_length=200, description="No names.", examples=["talked to the class"])


class RestrictLine(BaseModel):
    """A person's word that a line is to be slowed."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(
        min_length=1, max_length=400, description="Why; kept with the act. No names.", examples=["told twice"]
    )
    speed: str | None = Field(default=None, max_length=32, description="The carrier's class; else the rule's.")


def _out(rule: ThresholdRule) -> RuleOut:
    wanted = rules.wanted_of(rule)
    given = {name: getattr(wanted, name) for name in RuleIn.model_fields}
    return RuleOut(id=rule.id or 0, set_by=rule.set_by, set_at=rule.set_at, **given)


@router.get("/rules", operation_id="listUsageRules", summary="From when on use is acted on")
def list_rules(session: SessionDep, _principal: Annotated[Principal, Depends(may(Action.READ_SIMS))]) -> list[RuleOut]:
    """List all rules by subject, what is compared, and level."""
    return [_out(rule) for rule in rules.every(session)]


@router.post("/rules", operation_id="addUsageRule", status_code=201, summary="Add a rule of use")
def add_rule(
    body: RuleIn, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.MANAGE_CARRIERS))]
) -> RuleOut:
    """Add a rule; what is above its limit already fires within minutes."""
    return _out(rules.add(session, principal, Wanted(**body.model_dump())))


@router.put("/rules/{rule_id}", operation_id="setUsageRule", summary="Change a rule of use")
def set_rule(
    rule_id: int,
    body: RuleIn,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_CARRIERS))],
) -> RuleOut:
    """Change a rule; `active: false` switches it off. What fired in this cycle does not fire again."""
    return _out(rules.change(session, principal, rule_id, Wanted(**body.model_dump())))


@router.get("/alerts", operation_id="listUsageAlerts", summary="Limits that were passed")
def list_alerts(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_USAGE))],
    window: Paging,
    school: Annotated[str | None, Query(max_length=32)] = None,
    *,
    waiting: Annotated[bool, Query(description="Only those that wait for a person.")] = False,
) -> Page[AlertOut]:
    """List what was passed in the caller's schools, newest first; pools and the fleet for people of all schools."""
    before = int(window.after[0]) if window.after else None
    rows = alerts.listed(
        session, principal.scope, school=school, waiting=waiting, before=before, limit=window.limit + 1
    )
    return page_of(window, rows, key=lambda row: [row.id], show=AlertOut.model_validate)


@router.post("/alerts/{alert_id}/settle", operation_id="settleUsageAlert", summary="Say what was done about it")
def settle_alert(
    alert_id: int,
    body: SettleAlert,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_SIMS))],
) -> AlertOut:
    """Settle an alert that waits for a person."""
    return AlertOut.model_validate(alerts.settle(session, principal, alert_id, said=body.done))


@router.post("/alerts/{alert_id}/restrict", operation_id="restrictForAlert", summary="Slow the line")
def restrict_for_alert(
    alert_id: int,
    body: RestrictLine,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.CONTROL_SIMS))],
) -> AlertOut:
    """Ask the line's carrier to slow it until the cycle is over; refused where only a policy can."""
    alerts.find(session, principal.scope, alert_id)
    slowing.by_a_person(session, principal, alert_id, reason=body.reason, speed=body.speed)
    return AlertOut.model_validate(alerts.find(session, principal.scope, alert_id))
