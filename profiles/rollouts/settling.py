"""Noting how far a rollout's tablets have come, each once: installed, failed, woken again, heard, silent.

Only tablets of which something is still open are looked at. It counts; `thresholds` decides what the numbers mean.
"""

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm import jobs
from mdm.devices import wakeups
from mdm.devices.models import Lane
from mdm.jobs import Job
from profiles import progress
from profiles.rollouts.thresholds import Numbers, Thresholds

AT_ONCE: Final = 5000
"""Tablets noted in one statement."""

# Rows that somebody else holds are left for the next look: whoever waits for nobody is in no deadlock.
_REPORTED = f"""
WITH seen AS (
    SELECT t.device_id, installed FROM rollout_target t JOIN enrollment e ON e.device_id = t.device_id,
    LATERAL (SELECT e.desired_manifest IS NOT DISTINCT FROM t.manifest
             AND (t.manifest IS NULL OR e.installed_manifest = t.manifest) AS installed) i
    WHERE t.rollout_id = :rollout AND t.released_at IS NOT NULL AND t.installed_at IS NULL AND t.withdrawn_at IS NULL
      AND t.excluded IS NULL AND e.status = 'active' AND t.device_id > :after
      AND (installed OR (t.failed_at IS NULL AND e.desired_manifest = t.manifest AND {progress.FAILED_SQL}))
    ORDER BY t.device_id LIMIT :limit FOR UPDATE OF t SKIP LOCKED
)
UPDATE rollout_target t SET
    installed_at = CASE WHEN s.installed THEN now() END,
    heard_at = CASE WHEN s.installed AND NOT :proof THEN now() END,
    failed_at = CASE WHEN s.installed THEN NULL ELSE now() END
FROM seen s WHERE t.rollout_id = :rollout AND t.device_id = s.device_id RETURNING t.device_id
"""
_PULSE = """
WITH due AS (
    SELECT device_id FROM rollout_target WHERE rollout_id = :rollout AND heard_at IS NULL AND pulsed_at IS NULL
      AND device_id > :after
      AND installed_at <= now() - make_interval(secs => :pulse_after) AND withdrawn_at IS NULL
    ORDER BY device_id LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE rollout_target t SET pulsed_at = now() FROM due d
WHERE t.rollout_id = :rollout AND t.device_id = d.device_id RETURNING t.device_id
"""
_HEARD = """
WITH heard AS (
    SELECT t.device_id FROM rollout_target t JOIN enrollment e ON e.device_id = t.device_id
    WHERE t.rollout_id = :rollout AND t.installed_at IS NOT NULL AND t.heard_at IS NULL
      AND e.last_seen_at > t.pulsed_at AND t.device_id > :after
    ORDER BY t.device_id LIMIT :limit FOR UPDATE OF t SKIP LOCKED
)
UPDATE rollout_target t SET heard_at = now(), silent_at = NULL FROM heard h
WHERE t.rollout_id = :rollout AND t.device_id = h.device_id RETURNING t.device_id
"""
# One whose pulse went out late gets as long to answer as the others.
_SILENT = """
WITH silent AS (
    SELECT t.device_id FROM rollout_target t JOIN enrollment e ON e.device_id = t.device_id
    WHERE t.rollout_id = :rollout AND t.installed_at IS NOT NULL AND t.heard_at IS NULL AND t.silent_at IS NULL
      AND t.withdrawn_at IS NULL AND e.status = 'active' AND coalesce(e.last_seen_at <= t.pulsed_at, true)
      AND greatest(t.installed_at + make_interval(secs => :silent_after),
                   t.pulsed_at + make_interval(secs => :silent_after - :pulse_after)) <= now()
      AND t.pulsed_at IS NOT NULL AND t.device_id > :after
    ORDER BY t.device_id LIMIT :limit FOR UPDATE OF t SKIP LOCKED
)
UPDATE rollout_target t SET silent_at = now() FROM silent s
WHERE t.rollout_id = :rollout AND t.device_id = s.device_id RETURNING t.device_id
"""
_NUMBERS = """
SELECT t.wave, count(*), count(t.installed_at),
       count(*) FILTER (WHERE t.installed_at IS NULL AND t.failed_at IS NOT NULL AND wanted),
       count(*) FILTER (WHERE t.installed_at IS NULL AND NOT wanted),
       count(*) FILTER (WHERE t.silent_at IS NOT NULL),
       count(*) FILTER (WHERE t.installed_at IS NOT NULL AND t.heard_at IS NULL AND t.silent_at IS NULL)
FROM rollout_target t JOIN enrollment e ON e.device_id = t.device_id,
LATERAL (SELECT e.desired_manifest IS NOT DISTINCT FROM t.manifest AS wanted) w
WHERE t.rollout_id = :rollout AND t.excluded IS NULL AND t.released_at IS NOT NULL AND t.withdrawn_at IS NULL
  AND e.status = 'active'
GROUP BY 1 ORDER BY 1
"""


def note(session: Session, rollout_id: UUID, limits: Thresholds) -> None:
    """Note what tablets have reported since the last look, and wake those that have to show that they live."""
    times = {"pulse_after": limits.pulse_after_s, "silent_after": limits.silent_after_s}
    for _ in _each(session, _REPORTED, rollout_id, proof=bool(limits.proof)):
        pass
    if not limits.proof:
        return
    for pulsed in _each(session, _PULSE, rollout_id, pulse_after=limits.pulse_after_s):
        wakeups.mark_due(session, sorted(pulsed), Lane.NORMAL)
        jobs.ring(session, Job.DISPATCH, lane=int(Lane.NORMAL))
    for _ in _each(session, _HEARD, rollout_id):
        pass
    for _ in _each(session, _SILENT, rollout_id, **times):
        pass


def _each(session: Session, statement: str, rollout_id: UUID, **values: object) -> Iterator[list[int]]:
    """Run a statement from tablet to tablet, some thousand at a time, until it finds no more; yields whom it hit."""
    after = 0
    while True:
        given = {"rollout": rollout_id, "limit": AT_ONCE, "after": after, **values}
        touched = list(session.execute(text(statement), given).scalars())
        if touched:
            yield touched
        if len(touched) < AT_ONCE:
            return
        after = max(touched)


def numbers(session: Session, rollout_id: UUID) -> list[Numbers]:
    """Count the tablets that were told, wave by wave; those that left since, or were left out, are not counted."""
    rows = session.execute(text(_NUMBERS), {"rollout": rollout_id})
    return [Numbers(*(int(number) for number in row)) for row in rows]
