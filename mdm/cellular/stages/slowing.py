"""Slows a line because of its use, by its carrier, and lets it go again when the cycle is over. Sends nothing itself.

A wish for a line goes through `sim_wishes` like anybody's: with its reason, on record, and effective only when the
carrier's own word says so. By itself this asks for as many lines in a day as a job may change at once; what is beyond
waits for a person. Where no carrier can, a policy must, which takes two persons and is not asked for here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.auth import Principal
from mdm.cellular import cycles, sim_wishes
from mdm.cellular.forecast.making import day_of
from mdm.cellular.models import ActionKind, Sim, ThresholdEvent
from mdm.cellular.sim_wishes import NoCarrier, UnderWay, Wish
from mdm.cellular.stages.rules import Act
from mdm.errors import Conflict, MdmError, NotFound
from mdm.organization.hours import JST
from mdm.safeguards import thresholds
from mdm.safeguards.threshold_values import Name

ACTOR: Final = "system:usage"
_POLICY: Final = "a policy exception for the tablet can (apps.network_rules, two persons)"
_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class Means:
    """By what a line can be slowed: the carrier's speed class, or None where only a policy can."""

    speed: str | None

    @property
    def said(self) -> str:
        """What is written beside the event while it waits for a person."""
        if self.speed is not None:
            return f"waits for a person: the carrier can slow the line ({self.speed})"
        return f"waits for a person: the carrier cannot slow the line; {_POLICY}"


def means_of(*, enabled: bool, capabilities: Mapping[str, Any], speed: str | None) -> Means:
    """Return by what a line of an account can be slowed. `speed` is what the rule names; else the slowest."""
    speeds: Sequence[str] = capabilities.get("speeds") or ()
    if not enabled or ActionKind.SPEED.value not in (capabilities.get("acts") or ()) or not speeds:
        return Means(None)
    return Means(speed if speed in speeds else speeds[0])


def room(session: Session) -> int:
    """Return for how many lines more may be asked today without a person's word."""
    midnight = clock.now().astimezone(JST).replace(hour=0, minute=0, second=0, microsecond=0)
    asked = session.execute(
        text(
            "SELECT count(*) FROM sim_action WHERE requested_by = :by AND requested_at >= :since AND kind = 'speed'"
            " AND reason = :reason"
        ),
        {"by": ACTOR, "since": midnight, "reason": _REASON},
    ).scalar_one()
    return max(thresholds.current(session)[Name.SIMS_AT_ONCE] - int(asked), 0)


_REASON: Final = "a limit of use was passed"
_OVER: Final = "the cycle is over"


def by_itself(session: Session, event_id: int, speed: str) -> tuple[str, bool]:
    """Ask the carrier; return what to write beside the event, and whether that settles it."""
    event = session.get_one(ThresholdEvent, event_id)
    try:
        _ask(session, ACTOR, event, speed, _REASON)
    except MdmError as refusal:
        return f"waits for a person: the carrier was not asked: {refusal.detail}"[:200], False
    return f"the carrier was asked to slow the line ({speed}){_until(event)}", True


def by_a_person(session: Session, principal: Principal, event_id: int, *, reason: str, speed: str | None) -> None:
    """Ask the carrier on a person's word. `NoCarrier` where only a policy can; `Conflict` for what does not wait."""
    event = session.get(ThresholdEvent, event_id, with_for_update=True)
    if event is None:
        raise NotFound("there is no such alert")
    if event.action != Act.RESTRICT or event.settled_at is not None or not event.done:
        raise Conflict("this alert does not wait for a restriction")
    row = session.execute(
        text(
            "SELECT a.enabled, a.capabilities, r.parameters FROM sim s JOIN carrier_account a ON a.id = s.account_id,"
            " threshold_rule r WHERE s.id = :sim AND r.id = :rule"
        ),
        {"sim": event.scope_id, "rule": event.rule_id},
    ).one()
    named = speed or row.parameters.get("speed")
    found = means_of(enabled=row.enabled, capabilities=row.capabilities, speed=named).speed
    if found is None:
        raise NoCarrier(f"the carrier cannot slow the line; {_POLICY}")
    _ask(session, principal, event, speed or found, reason)
    event.done = f"the carrier was asked to slow the line ({event.speed}), on a person's word{_until(event)}"
    event.settled_at = clock.now()
    session.add(event)
    session.flush()


def lift(session: Session) -> Counter[str]:
    """Give lines their speed back whose cycle is over, unless somebody has set another one since."""
    done: Counter[str] = Counter()
    today = day_of(clock.now())
    for row in session.execute(text(_SLOWED), {"limit": _AT_ONCE}).all():
        if cycles.of_day(row.cycle_start, row.cycle_anchor_day).end > today:
            continue
        event = session.get_one(ThresholdEvent, row.id, populate_existing=True)
        try:
            if row.intended_speed != event.speed:
                event.note = "somebody has set another speed since"
            else:
                wish = Wish(ActionKind.SPEED, _OVER, event.speed_before or "")
                sim_wishes.ask(session, ACTOR, [event.scope_id], wish)[0].must()
                event.note = f"the cycle is over: the carrier was asked for {event.speed_before} again"
        except UnderWay:  # the next look asks again
            continue
        except MdmError as refusal:
            event.note = f"not lifted by itself: {refusal.detail}"[:200]
        event.lifted_at = clock.now()
        session.add(event)
        done["lifted"] += 1
    session.flush()
    return done


_SLOWED: Final = """
SELECT e.id, e.cycle_start, a.cycle_anchor_day, s.intended_speed FROM threshold_event e JOIN sim s ON s.id = e.scope_id
JOIN carrier_account a ON a.id = s.account_id
WHERE e.speed IS NOT NULL AND e.speed_before IS NOT NULL AND e.lifted_at IS NULL ORDER BY e.cycle_start, e.id
LIMIT :limit FOR UPDATE OF e SKIP LOCKED
"""


def _ask(session: Session, who: Principal | str, event: ThresholdEvent, speed: str, reason: str) -> None:
    before = session.get_one(Sim, event.scope_id, populate_existing=True).effective_speed
    sim_wishes.ask(session, who, [event.scope_id], Wish(ActionKind.SPEED, reason, speed))[0].must()
    event.speed, event.speed_before = speed, before if before != speed else None
    session.add(event)
    session.flush()


def _until(event: ThresholdEvent) -> str:
    return ", until the cycle is over" if event.speed_before else "; to be lifted by hand"
