"""What thresholds there are: the first value of each, its bounds, and which way is looser. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mdm.errors import Invalid


class Name(StrEnum):
    """The thresholds; `a` is what cannot be undone, `b` what disrupts, `acts` and `accounts` what people change."""

    A_OPERATOR_HOUR = "a.operator.hour"
    A_OPERATOR_DAY = "a.operator.day"
    A_SCHOOL_HOUR = "a.school.hour"
    A_FLEET_HOUR = "a.fleet.hour"
    A_FLEET_DAY = "a.fleet.day"
    B_OPERATOR_HOUR = "b.operator.hour"
    B_FLEET_HOUR = "b.fleet.hour"
    ACTS_OPERATOR_HOUR = "acts.operator.hour"
    ACTS_FLEET_HOUR = "acts.fleet.hour"
    ACCOUNTS_OPERATOR_HOUR = "accounts.operator.hour"
    ACCOUNTS_FLEET_HOUR = "accounts.fleet.hour"
    APPROVALS_PERSONS = "approvals.persons"
    HOLD_MINUTES = "hold.minutes"
    HOLD_LOST_HOURS = "hold.lost_hours"
    YOUNG_DAYS = "young.days"
    ELEVATED_HOURS = "elevated.hours"
    BREAKER_WIPES_HOUR = "breaker.wipes.hour"
    BREAKER_REFUSED = "breaker.refused"
    BREAKER_SCHOOLS = "breaker.schools"
    CAMPAIGN_STOCKTAKE_DAYS = "campaign.stocktake_days"
    CAMPAIGN_COOLING_HOURS = "campaign.cooling_hours"
    CAMPAIGN_WAVE_1 = "campaign.wave.1"
    CAMPAIGN_WAVE_2 = "campaign.wave.2"
    CAMPAIGN_WAVE_3 = "campaign.wave.3"
    CAMPAIGN_FAILURES = "campaign.failures_percent"
    SIMS_AT_ONCE = "sims.at_once"
    STEP_UP_A_MINUTES = "step_up.a_minutes"
    STEP_UP_B_MINUTES = "step_up.b_minutes"


class Looser(StrEnum):
    """Which way a threshold gives more away."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Fact:
    """The facts of one threshold."""

    first: int
    looser: Looser
    least: int
    most: int
    meaning: str


def _higher(first: int, meaning: str, *, most: int, least: int = 0) -> Fact:
    return Fact(first, Looser.HIGHER, least, most, meaning)


def _lower(first: int, meaning: str, *, most: int, least: int = 0) -> Fact:
    return Fact(first, Looser.LOWER, least, most, meaning)


FACTS: Final[Mapping[Name, Fact]] = {
    Name.A_OPERATOR_HOUR: _higher(3, "wipes one operator may ask for, or approve, in an hour", most=100),
    Name.A_OPERATOR_DAY: _higher(10, "the same in a day", most=500),
    Name.A_SCHOOL_HOUR: _higher(3, "wipes in one school in an hour", most=100),
    Name.A_FLEET_HOUR: _higher(10, "wipes in an hour", most=500),
    Name.A_FLEET_DAY: _higher(25, "the same in a day", most=2000),
    Name.B_OPERATOR_HOUR: _higher(30, "locks, lost modes, restarts of one operator in an hour", most=15_000),
    Name.B_FLEET_HOUR: _higher(100, "the same of everybody", most=15_000),
    Name.ACTS_OPERATOR_HOUR: _higher(120, "changes of ledger, policies, rollouts, limits by one operator", most=5000),
    Name.ACTS_FLEET_HOUR: _higher(600, "the same of everybody", most=50_000),
    Name.ACCOUNTS_OPERATOR_HOUR: _higher(30, "changes of accounts by one operator in an hour", most=1000),
    Name.ACCOUNTS_FLEET_HOUR: _higher(60, "the same of everybody", most=2000),
    Name.APPROVALS_PERSONS: _lower(2, "persons it takes to wipe, the one who asks included", least=2, most=3),
    Name.HOLD_MINUTES: _lower(10, "minutes an approved wipe waits and can be cancelled", most=1440),
    Name.HOLD_LOST_HOURS: _lower(24, "hours in lost mode after which a wipe waits no longer", most=720),
    Name.YOUNG_DAYS: _lower(7, "days in which an account is too young for class A", most=90),
    Name.ELEVATED_HOURS: _lower(72, "hours after more rights in which an account may not touch class A", most=2160),
    Name.BREAKER_WIPES_HOUR: _higher(10, "the breaker opens above so many wipes asked for in an hour", most=500),
    Name.BREAKER_REFUSED: _higher(3, "the breaker opens above so many refused attempts in 10 minutes", most=100),
    Name.BREAKER_SCHOOLS: _higher(
        3, "the breaker opens when wipes are asked for in so many schools within 15 minutes", least=2, most=200
    ),
    Name.CAMPAIGN_STOCKTAKE_DAYS: _higher(30, "days for which a stocktake scan counts", least=1, most=365),
    Name.CAMPAIGN_COOLING_HOURS: _lower(24, "hours between the second signature and the first wave", most=720),
    Name.CAMPAIGN_WAVE_1: _higher(10, "wipes in a campaign's first hour", least=1, most=1000),
    Name.CAMPAIGN_WAVE_2: _higher(100, "wipes in its second hour", least=1, most=5000),
    Name.CAMPAIGN_WAVE_3: _higher(500, "wipes in every later hour", least=1, most=15_000),
    Name.SIMS_AT_ONCE: _higher(
        10, "lines that one operator may suspend, resume or slow in one act without a second person", least=1, most=5000
    ),
    Name.CAMPAIGN_FAILURES: _higher(
        2, "a campaign pauses when more percent of its wipes fail, and at least 3", most=50
    ),
    Name.STEP_UP_A_MINUTES: _higher(5, "minutes a fresh proof of presence counts for class A", least=1, most=60),
    Name.STEP_UP_B_MINUTES: _higher(15, "the same for class B in bulk", least=1, most=240),
}
"""Every threshold has its facts; a test holds it. Where each comes from: operations.md §2.3."""


def loosens(name: Name, before: int, value: int) -> bool:
    """Say whether a new value gives more away than the one before."""
    return value > before if FACTS[name].looser is Looser.HIGHER else value < before


def tighter(name: Name, one: int, other: int) -> int:
    """Return whichever of two values gives less away."""
    return other if loosens(name, other, one) else one


def check(name: Name, value: int) -> None:
    """Raise `Invalid` unless the value lies within the bounds of its threshold."""
    fact = FACTS[name]
    if not fact.least <= value <= fact.most:
        detail = f"{name.value} lies between {fact.least} and {fact.most}"
        raise Invalid(detail, errors=[{"pointer": "/value", "detail": detail}])
