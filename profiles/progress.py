"""How far each tablet of a rollout is, derived from its enrolment and profiles by SQL. Nothing here is stored."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm.auth.principal import SCOPE_SQL, Scope
from mdm.devices.models import VerificationStatus

EVERYWHERE = Scope(all_schools=True)
MOST_REASONS = 20


class Stage(StrEnum):
    """Where a tablet stands in a rollout."""

    PENDING = "pending"
    """Waits for its wake-up."""
    WOKEN = "woken"
    """Was pushed or heard since the start, and has not installed everything yet."""
    INSTALLED = "installed"
    FAILED = "failed"
    """The tablet refused an artifact of what it should hold; the others may still land."""
    SUPERSEDED = "superseded"
    """Wanted otherwise by now: another revision of the same policy."""
    EXCLUDED = "excluded"
    """Left out at the start, or gone since."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why tablets failed or were left out, and how many."""

    stage: Stage
    reason: str
    tablets: int


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A wish of the policy that some tablets cannot fulfil."""

    pointer: str
    reason: str
    tablets: int


# A failure counts while what failed is what is still wanted under that identifier (a removal: nothing).
# The tablet's own words are cut short: they are for people.
_STAGES = f"""
SELECT t.device_id,
       CASE WHEN t.excluded IS NOT NULL OR e.status <> 'active' THEN 'excluded'
            WHEN e.desired_manifest IS DISTINCT FROM t.manifest THEN 'superseded'
            WHEN t.manifest IS NULL OR e.installed_manifest = t.manifest THEN 'installed'
            WHEN failure.reason IS NOT NULL THEN 'failed'
            WHEN greatest(e.last_push_at, e.last_seen_at) >= r.created_at THEN 'woken'
            ELSE 'pending' END AS stage,
       CASE WHEN t.excluded IS NOT NULL THEN t.excluded
            WHEN e.status <> 'active' THEN 'not enrolled any more'
            ELSE failure.reason END AS reason
FROM rollout r
JOIN rollout_target t ON t.rollout_id = r.id
JOIN device d ON d.id = t.device_id
JOIN enrollment e ON e.device_id = t.device_id
LEFT JOIN LATERAL (
    SELECT left(concat(f.identifier, ': ', coalesce(f.error -> 0 ->> 'USEnglishDescription',
           f.error -> 0 ->> 'LocalizedDescription', concat_ws(' ', f.error -> 0 ->> 'ErrorDomain',
           f.error -> 0 ->> 'ErrorCode'))), 200) AS reason
    FROM device_profile f
    LEFT JOIN manifest_item i ON i.manifest = t.manifest AND i.identifier = f.identifier
    WHERE f.device_id = t.device_id AND f.status = 'failed' AND f.wanted IS NOT DISTINCT FROM i.artifact
    ORDER BY f.identifier LIMIT 1
) failure ON true
WHERE r.id = :rollout AND {SCOPE_SQL.format(column="d.school_id")}
"""


def count(session: Session, rollout_id: UUID, scope: Scope = EVERYWHERE) -> dict[Stage, int]:
    """Count the tablets of a rollout in each stage, within scope; every stage is present."""
    rows = session.execute(
        text(f"SELECT stage, count(*) FROM ({_STAGES}) AS stages GROUP BY stage"),
        {"rollout": rollout_id, "schools": scope.parameter},
    )
    found = {Stage(stage): int(number) for stage, number in rows}
    return {stage: found.get(stage, 0) for stage in Stage}


def cannot(session: Session, rollout_id: UUID, scope: Scope = EVERYWHERE) -> list[Shortfall]:
    """Say what the tablets of a rollout cannot do of their policy although everything else landed."""
    rows = session.execute(
        text(
            "SELECT wish ->> 'pointer', wish ->> 'reason', count(*) FROM rollout_target t"
            " JOIN device d ON d.id = t.device_id JOIN manifest m ON m.sha256 = t.manifest,"
            " jsonb_array_elements(m.cannot) AS wish"
            f" WHERE t.rollout_id = :rollout AND t.excluded IS NULL AND {SCOPE_SQL.format(column='d.school_id')}"
            " GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        {"rollout": rollout_id, "schools": scope.parameter},
    )
    return [Shortfall(place, reason, int(number)) for place, reason, number in rows]


def proofs(session: Session, rollout_id: UUID, scope: Scope = EVERYWHERE) -> dict[VerificationStatus, int]:
    """Count the tablets that had everything of a rollout installed by what their own lists prove; counted now, always.

    Every status is present. A tablet that is wanted otherwise by now is in none.
    """
    rows = session.execute(
        text(
            "SELECT v.status, count(*) FROM rollout_target t JOIN device d ON d.id = t.device_id"
            " JOIN enrollment e ON e.device_id = t.device_id AND e.status = 'active'"
            " AND e.desired_manifest = t.manifest"
            " JOIN verification v ON v.device_id = t.device_id AND v.manifest = t.manifest"
            " AND (v.manifest = e.installed_manifest OR v.status = 'healing')"
            f" WHERE t.rollout_id = :rollout AND t.excluded IS NULL AND {SCOPE_SQL.format(column='d.school_id')}"
            " GROUP BY 1"
        ),
        {"rollout": rollout_id, "schools": scope.parameter},
    )
    found = {VerificationStatus(status): int(number) for status, number in rows}
    return {status: found.get(status, 0) for status in VerificationStatus}


def reasons(session: Session, rollout_id: UUID, scope: Scope = EVERYWHERE) -> list[Reason]:
    """Say why tablets failed or are left out, the most frequent reasons first."""
    rows = session.execute(
        text(
            f"SELECT stage, reason, count(*) FROM ({_STAGES}) AS stages WHERE stage IN ('failed', 'excluded')"
            " GROUP BY stage, reason ORDER BY 3 DESC, 2 LIMIT :most"
        ),
        {"rollout": rollout_id, "schools": scope.parameter, "most": MOST_REASONS},
    )
    return [Reason(Stage(stage), reason or "", int(number)) for stage, reason, number in rows]
