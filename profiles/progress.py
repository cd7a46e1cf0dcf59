"""How far each tablet of a rollout is, derived from its enrolment and profiles by SQL. It stores nothing."""

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
    """Waits for its wave or its wake-up."""
    WOKEN = "woken"
    """Was pushed or heard since the start, and has not installed everything yet."""
    INSTALLED = "installed"
    FAILED = "failed"
    """The tablet refused an artifact of what it should hold; the others may still land."""
    SUPERSEDED = "superseded"
    """Wanted otherwise by now: another revision of the same policy, or the rollout was taken back."""
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
_FAILED = """
    FROM device_profile f LEFT JOIN manifest_item i ON i.manifest = t.manifest AND i.identifier = f.identifier
    WHERE f.device_id = t.device_id AND f.status = 'failed' AND f.wanted IS NOT DISTINCT FROM i.artifact
"""
FAILED_SQL = f"EXISTS (SELECT {_FAILED})"
"""The condition that a target `t` of a rollout has refused something of the manifest that brings the revision."""
# The tablet's own words are cut short: they are for people.
_WORDS = f"""(
    SELECT left(concat(f.identifier, ': ', coalesce(f.error -> 0 ->> 'USEnglishDescription',
           f.error -> 0 ->> 'LocalizedDescription', concat_ws(' ', f.error -> 0 ->> 'ErrorDomain',
           f.error -> 0 ->> 'ErrorCode'))), 200) {_FAILED} ORDER BY f.identifier LIMIT 1)"""
_STAGES = f"""
SELECT t.device_id, t.wave,
       CASE WHEN t.excluded IS NOT NULL OR e.status <> 'active' THEN 'excluded'
            WHEN t.withdrawn_at IS NOT NULL THEN 'superseded'
            WHEN t.released_at IS NULL THEN 'pending'
            WHEN e.desired_manifest IS DISTINCT FROM t.manifest THEN 'superseded'
            WHEN t.installed_at IS NOT NULL OR t.manifest IS NULL OR e.installed_manifest = t.manifest THEN 'installed'
            WHEN {FAILED_SQL} THEN 'failed'
            WHEN greatest(e.last_push_at, e.last_seen_at) >= t.released_at THEN 'woken'
            ELSE 'pending' END AS stage,
       t.excluded
FROM rollout_target t
JOIN device d ON d.id = t.device_id
JOIN enrollment e ON e.device_id = t.device_id
WHERE t.rollout_id = :rollout AND {SCOPE_SQL.format(column="d.school_id")}
"""


def count(session: Session, rollout_id: UUID, scope: Scope = EVERYWHERE) -> dict[Stage, int]:
    """Count the tablets of a rollout in each stage, within scope; every stage is present."""
    by_wave = count_by_wave(session, rollout_id, scope).values()
    return {stage: sum(counts[stage] for counts in by_wave) for stage in Stage}


def count_by_wave(session: Session, rollout_id: UUID, scope: Scope = EVERYWHERE) -> dict[int | None, dict[Stage, int]]:
    """The same for each wave; None: the tablets that are in no wave."""
    rows = session.execute(
        text(f"SELECT wave, stage, count(*) FROM ({_STAGES}) AS stages GROUP BY 1, 2"),
        {"rollout": rollout_id, "schools": scope.parameter},
    )
    found: dict[int | None, dict[Stage, int]] = {}
    for wave, stage, number in rows:
        found.setdefault(wave, dict.fromkeys(Stage, 0))[Stage(stage)] = int(number)
    return found


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
            "SELECT stage, reason, count(*) FROM (SELECT s.stage, CASE WHEN s.stage = 'failed' THEN"
            f" {_WORDS} ELSE coalesce(s.excluded, 'not enrolled any more') END AS reason FROM ({_STAGES}) AS s"
            " JOIN rollout_target t ON t.rollout_id = :rollout AND t.device_id = s.device_id"
            " WHERE s.stage IN ('failed', 'excluded')) AS each_reason"
            " GROUP BY stage, reason ORDER BY 3 DESC, 2 LIMIT :most"
        ),
        {"rollout": rollout_id, "schools": scope.parameter, "most": MOST_REASONS},
    )
    return [Reason(Stage(stage), reason or "", int(number)) for stage, reason, number in rows]
