"""Does what a passed limit asks for, and writes beside it what was in fact done and by which means. Finds no crossing.

No protocol carries a message to a tablet that is not locked, and the desk has no address of a school: what tablets and
schools are to be told goes, counted by school and without a name or number, in one notice to whoever is on duty. A line
is slowed by its carrier where its interface can, else by a policy for its applications; both take a person's word,
unless the rule says that the carrier is asked at once.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, text
from sqlmodel import Session

from mdm import clock
from mdm.audit import chain
from mdm.cellular.models import Watched
from mdm.cellular.stages import slowing
from mdm.cellular.stages.rules import Act
from mdm.cellular.stages.slowing import ACTOR
from mdm.safeguards import notices

AT_ONCE: Final = 1000
_NAMED: Final = 50
"""Schools that a notice names, those with the most first."""
_DUE: Final = """
SELECT e.id, e.scope, e.scope_id, e.level, e.value_bytes, e.limit_bytes, e.action, r.metric, r.parameters,
    c.code AS school, a.kind, a.enabled, a.capabilities, o.name || '/' || p.name AS pool
FROM threshold_event e JOIN threshold_rule r ON r.id = e.rule_id
LEFT JOIN sim s ON e.scope = 'sim' AND s.id = e.scope_id LEFT JOIN carrier_account a ON a.id = s.account_id
LEFT JOIN sim_binding b ON b.sim_id = s.id AND b.valid_to IS NULL LEFT JOIN device d ON d.id = b.device_id
LEFT JOIN school c ON c.id = CASE WHEN e.scope = 'school' THEN e.scope_id ELSE d.school_id END
LEFT JOIN plan_pool p ON e.scope = 'pool' AND p.id = e.scope_id LEFT JOIN carrier_account o ON o.id = p.account_id
WHERE e.settled_at IS NULL AND e.done = '' ORDER BY e.id LIMIT :limit FOR UPDATE OF e SKIP LOCKED
"""
_DONE: Final = {
    Act.NOTE: "kept only",
    Act.TELL_TABLET: "in the notice for its school: no message reaches a tablet that is not locked",
    Act.TELL_SCHOOL: "in the notice for its school",
    Act.WARN: "in the notice for its school and the board",
    Act.PAGE: "whoever is on duty was called",
}


def act(session: Session) -> Counter[str]:
    """Do what is due, up to some hundred events, and return how many of each act there were."""
    due = session.execute(text(_DUE), {"limit": AT_ONCE}).all()
    done: Counter[str] = Counter()
    said: dict[int, tuple[str, bool]] = {}
    for event in due:
        restrict = event.action == Act.RESTRICT
        said[event.id] = _restrict(session, event) if restrict else (_DONE.get(event.action, "kept"), True)
        done[event.action] += 1
    if not due:
        return done
    session.execute(
        text(
            "UPDATE threshold_event e SET done = x.done,"
            " settled_at = CASE WHEN x.settled THEN CAST(:now AS timestamptz) END"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:done AS text[]), CAST(:settled AS boolean[]))"
            " x (id, done, settled) WHERE x.id = e.id"
        ),
        {
            "now": clock.now(),
            "ids": list(said),
            "done": [text_[:200] for text_, _ in said.values()],
            "settled": [settled for _, settled in said.values()],
        },
    )
    if any(event.action != Act.NOTE for event in due):
        _tell(session, due)
    chain.record(session, ACTOR, "usage_rule.fire", "usage_rules", {"count": len(due), "acts": dict(done)})
    return done


def _restrict(session: Session, event: Row[Any]) -> tuple[str, bool]:
    """Return what to write beside a restriction, and whether that settles it."""
    speed = event.parameters.get("speed")
    means = slowing.means_of(enabled=event.enabled, capabilities=event.capabilities, speed=speed)
    if means.speed is None or not event.parameters.get("automatic"):
        return means.said, False
    if not slowing.room(session):
        return f"{means.said}; enough lines were slowed by themselves today", False
    return slowing.by_itself(session, event.id, means.speed)


def _tell(session: Session, due: Sequence[Row[Any]]) -> None:
    """Call whoever is on duty, once for all that fired: counts by school, pools by name. It leaves the house."""
    told = [event for event in due if event.action != Act.NOTE]
    schools: dict[str, Counter[str]] = defaultdict(Counter)
    for event in told:
        if event.scope == Watched.SIM:
            schools[event.school or "-"][event.action] += 1
    worst = sorted(schools.items(), key=lambda each: (-each[1].total(), each[0]))[:_NAMED]
    others = {
        event.pool
        or event.school
        or event.scope: f"{event.metric} {event.value_bytes * 100 // event.limit_bytes}% of the"
        f" limit of {event.limit_bytes} bytes"
        for event in told
        if event.scope != Watched.SIM
    }
    lines = sum(event.scope == Watched.SIM for event in told)
    subject = f"Limits of data use were passed by {lines} lines" if lines else "Limits of data use were passed"
    if pools := sum(event.scope == Watched.POOL for event in told):
        subject += f"; {pools} pools"
    details = {"lines": lines, "schools": {code: dict(counts) for code, counts in worst}, "others": others}
    notices.page(session, "usage.limit", subject, details)
