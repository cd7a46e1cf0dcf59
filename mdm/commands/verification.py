"""Asks a tablet that has everything installed what it holds, and keeps what came of it: the SQL of `verification`.

It compares nothing: what was wanted is known to whoever compiled it (`profiles.drift`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection
from sqlalchemy import text
from sqlmodel import Session

from mdm.commands.kinds import Kind
from mdm.commands.models import LIVE_STATES
from mdm.devices.models import Lane, VerificationStatus

QUESTIONS: Final = (Kind.INVENTORY_PROFILES, Kind.INVENTORY_RESTRICTIONS)
"""What proves a manifest."""

_LIVE: Final = ", ".join(f"'{state.value}'" for state in LIVE_STATES)

_ASK: Final = f"""
WITH done AS MATERIALIZED (
    SELECT e.device_id, e.epoch, decode(r.desired, 'hex') AS desired
    FROM jsonb_to_recordset(%s::jsonb) AS r(device_id bigint, desired text)
    JOIN LATERAL (SELECT e.device_id, e.epoch FROM enrollment e WHERE e.device_id = r.device_id OFFSET 0) e ON true
), proved AS MATERIALIZED (
    SELECT done.* FROM done WHERE EXISTS (SELECT FROM manifest_item m WHERE m.manifest = done.desired)
), nothing AS (
    DELETE FROM verification v WHERE v.device_id = ANY (ARRAY (SELECT device_id FROM done))
        AND NOT v.device_id = ANY (ARRAY (SELECT device_id FROM proved))
), noted AS (
    INSERT INTO verification (device_id, manifest, status, installed_at)
    SELECT device_id, desired, '{VerificationStatus.ASKED.value}', now() FROM proved ORDER BY device_id
    ON CONFLICT (device_id) DO UPDATE SET manifest = excluded.manifest, status = excluded.status,
        installed_at = excluded.installed_at, heard_at = NULL, findings = '[]',
        healed_at = CASE WHEN verification.manifest = excluded.manifest THEN verification.healed_at END
), asked AS (
    INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at)
    SELECT p.device_id, p.epoch, q.kind, '{{}}', q.kind, {int(Lane.BULK)}, 'queued', now() + interval '90 days'
    FROM proved p CROSS JOIN unnest(%s::text[]) WITH ORDINALITY AS q(kind, n) ORDER BY p.device_id, q.n
    ON CONFLICT (device_id, dedupe_key) WHERE state IN ({_LIVE}) DO NOTHING
    RETURNING id, state
), logged AS (
    INSERT INTO command_event (command_id, state, note)
    SELECT id, state, 'everything is installed' FROM asked
)
SELECT device_id FROM proved
"""
_AT_LEISURE: Final = f"""
INSERT INTO wakeup (device_id, lane, due_at)
SELECT w.device_id, {int(Lane.BULK)}, now() + interval '1 hour' FROM unnest(%s::bigint[]) AS w(device_id)
ORDER BY w.device_id ON CONFLICT (device_id) DO NOTHING
"""


async def ask(
    connection: AsyncConnection[Any], installed: Mapping[int, bytes], *, uncalled: Sequence[int]
) -> frozenset[int]:
    """Ask tablets what they hold, once for each time that their manifest was installed; return those with a question.

    `installed` maps tablets to that manifest; one without items leaves nothing to prove. They are awake and get the
    questions at once. Those in `uncalled` have no wake-up: they get a late one, in case the conversation breaks off.
    The caller has locked the enrolments.
    """
    rows = [{"device_id": device_id, "desired": manifest.hex()} for device_id, manifest in installed.items()]
    cursor = await connection.execute(_ASK, (json.dumps(rows), [kind.value for kind in QUESTIONS]))
    asked = frozenset(device_id for (device_id,) in await cursor.fetchall())
    if alone := sorted(asked.intersection(uncalled)):
        await connection.execute(_AT_LEISURE, (alone,))
    return asked


@dataclass(frozen=True, slots=True)
class Answered:
    """What one tablet said about the manifest that it installed; None for a question that it refused to answer."""

    device_id: int
    manifest: bytes
    profiles: dict[str, Any] | None
    restrictions: dict[str, Any] | None
    heard_at: datetime
    healed: bool
    """What was missing has been handed over again before."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was wanted and is not there, or not proved: a profile, or one restriction in it."""

    identifier: str
    key: str | None
    what: str


def _latest(alias: str, kind: Kind) -> str:
    """Join the answer to a question that came after the installation, or else the refusal to answer it."""
    return f"""
LEFT JOIN LATERAL (
    SELECT r.body, r.received_at AS at FROM device_report r
    WHERE r.device_id = v.device_id AND r.kind = '{kind.value}' AND r.received_at > v.installed_at
) {alias} ON true
LEFT JOIN LATERAL (
    SELECT c.ended_at AS at FROM (
        SELECT c.state, c.ended_at FROM command c WHERE c.device_id = v.device_id AND c.kind = '{kind.value}'
            AND v.status = 'asked' AND {alias}.at IS NULL
        ORDER BY c.id DESC LIMIT 1
    ) c WHERE c.state = 'failed' AND c.ended_at > v.installed_at
) {alias}_refused ON true"""


_ANSWERED: Final = f"""
SELECT v.device_id, v.manifest, p.body, r.body, greatest(p.at, r.at, p_refused.at, r_refused.at), v.healed_at
FROM verification v JOIN enrollment e ON e.device_id = v.device_id AND e.status = 'active'
    AND e.installed_manifest = v.manifest AND e.desired_manifest = v.manifest
{_latest("p", Kind.INVENTORY_PROFILES)}
{_latest("r", Kind.INVENTORY_RESTRICTIONS)}
WHERE coalesce(p.at, p_refused.at) IS NOT NULL AND coalesce(r.at, r_refused.at) IS NOT NULL
    AND greatest(p.at, r.at, p_refused.at, r_refused.at) > coalesce(v.heard_at, '-infinity')
"""


def answered(session: Session, limit: int) -> list[int]:
    """Return up to `limit` tablets that have answered since they were last compared, whoever asked them."""
    rows = session.execute(text(f"SELECT device_id FROM ({_ANSWERED}) a ORDER BY 1 LIMIT :limit"), {"limit": limit})
    return [device_id for (device_id,) in rows]


def answers(session: Session, device_ids: Sequence[int]) -> list[Answered]:
    """Return what those of these tablets said that have still to be compared. Lock their enrolments first."""
    rows = session.execute(
        text(f"{_ANSWERED} AND v.device_id = ANY(:ids) ORDER BY v.device_id"), {"ids": list(device_ids)}
    )
    return [
        Answered(device_id, bytes(manifest), profiles, restrictions, heard_at, healed_at is not None)
        for device_id, manifest, profiles, restrictions, heard_at, healed_at in rows
    ]


@dataclass(frozen=True, slots=True)
class Settled:
    """What the comparison of one tablet's answers gave; `again` are the profiles to be handed over once more."""

    of: Answered
    status: VerificationStatus
    findings: Sequence[Finding]
    again: Sequence[str] = ()


def record(session: Session, settled: Sequence[Settled]) -> None:
    """Keep what comparisons gave, many tablets at once. Lock their enrolments first."""
    rows = [
        {
            "device_id": one.of.device_id,
            "status": one.status.value,
            "heard_at": one.of.heard_at.isoformat(),
            "findings": [{"identifier": f.identifier, "key": f.key, "what": f.what} for f in one.findings],
            "heals": bool(one.again),
        }
        for one in settled
    ]
    session.execute(
        text(
            "UPDATE verification v SET status = s.status, heard_at = s.heard_at, findings = s.findings,"
            " healed_at = CASE WHEN s.heals THEN now() ELSE v.healed_at END"
            " FROM jsonb_to_recordset(CAST(:rows AS jsonb))"
            " AS s(device_id bigint, status text, heard_at timestamptz, findings jsonb, heals boolean)"
            " WHERE v.device_id = s.device_id"
        ),
        {"rows": json.dumps(rows)},
    )


def forget(session: Session, settled: Sequence[Settled]) -> list[int]:
    """Forget that tablets hold what is to be handed over again: their next check-in installs it. Returns who they are.

    Lock their enrolments first.
    """
    lost = [(one.of.device_id, identifier) for one in settled for identifier in one.again]
    device_ids = sorted({device_id for device_id, _ in lost})
    if not lost:
        return []
    session.execute(
        text(
            "DELETE FROM device_profile p USING unnest(CAST(:ids AS bigint[]), CAST(:identifiers AS text[]))"
            " AS lost(device_id, identifier) WHERE p.device_id = lost.device_id AND p.identifier = lost.identifier"
        ),
        {"ids": [device_id for device_id, _ in lost], "identifiers": [identifier for _, identifier in lost]},
    )
    session.execute(
        text("UPDATE enrollment SET installed_manifest = NULL WHERE device_id = ANY(:ids)"), {"ids": device_ids}
    )
    return device_ids
