"""What a command's end changes beside the command itself: the tablet's facts and its reports.

Everything here may come twice and must then change nothing more. Platforms translate their answers into `Inventory`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from psycopg import AsyncConnection

from mdm.commands.kinds import Kind


@dataclass(frozen=True, slots=True)
class TabletFacts:
    """What a tablet's inventory says about the tablet as a whole; None where it keeps silent."""

    supervised: bool | None = None
    os_version: str | None = None
    product: str | None = None
    lost_mode: bool | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """An answer to one inventory question, in JSON, kept as the latest of its kind."""

    kind: Kind
    body: dict[str, Any]
    facts: TabletFacts | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that a tablet brought to its end just now, and what came with it."""

    device_id: int
    kind: str
    done: bool
    inventory: Inventory | None


_REPORT: Final = """
INSERT INTO device_report (device_id, kind, received_at, body)
SELECT r.device_id, r.kind, now(), r.body
FROM jsonb_to_recordset(%s::jsonb) AS r(device_id bigint, kind text, body jsonb)
ORDER BY r.device_id, r.kind
ON CONFLICT (device_id, kind) DO UPDATE SET received_at = excluded.received_at, body = excluded.body
"""

_FACTS: Final = """
WITH told AS MATERIALIZED (
    SELECT e.device_id, f.lost_mode, coalesce(f.supervised, e.supervised) AS supervised,
        coalesce(left(f.os_version, 32), e.os_version) AS os_version,
        coalesce(left(f.product, 64), e.product) AS product,
        (e.supervised, e.os_version::text, e.product::text) AS before
    FROM jsonb_to_recordset(%s::jsonb)
        AS f(device_id bigint, supervised boolean, os_version text, product text, lost_mode boolean)
    JOIN enrollment e ON e.device_id = f.device_id AND e.device_id = ANY (%s::bigint[])
    ORDER BY e.device_id FOR NO KEY UPDATE OF e
), written AS (
    UPDATE enrollment e SET
        supervised = told.supervised, os_version = told.os_version, product = told.product,
        lost_mode = coalesce(told.lost_mode, e.lost_mode),
        desired_stale = e.desired_stale
            OR (told.supervised, told.os_version, told.product) IS DISTINCT FROM told.before
    FROM told WHERE e.device_id = told.device_id AND e.device_id = ANY (ARRAY (SELECT device_id FROM told))
    RETURNING e.device_id, (told.supervised, told.os_version, told.product) IS DISTINCT FROM told.before AS changed
)
SELECT device_id FROM written WHERE changed
"""


async def apply(connection: AsyncConnection[Any], ended: Sequence[Ended]) -> list[int]:
    """Write down what follows from these ends; return the tablets whose facts changed, which are now marked stale."""
    done = [end for end in ended if end.done]
    told = [(end.device_id, end.inventory) for end in done if end.inventory and end.inventory.kind == end.kind]
    if not told:
        return []
    reports = {(device_id, inventory.kind): inventory.body for device_id, inventory in told}
    rows = [{"device_id": device_id, "kind": kind, "body": body} for (device_id, kind), body in reports.items()]
    await connection.execute(_REPORT, (json.dumps(rows),))
    facts = {device_id: inventory.facts for device_id, inventory in told if inventory.facts is not None}
    if not facts:
        return []
    rows = [{"device_id": device_id, **asdict(known)} for device_id, known in facts.items()]
    cursor = await connection.execute(_FACTS, (json.dumps(rows), list(facts)))
    return [device_id for (device_id,) in await cursor.fetchall()]
