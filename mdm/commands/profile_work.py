"""What is left between the manifest a tablet should hold and what it holds, one step at a time; nothing is queued.

The difference is a pure function; the rest reads what it needs and writes what was handed out, for many at once.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from mdm.commands import verification
from mdm.commands.exchange_sql import AWAKE, SESSION
from mdm.commands.models import ProfileStatus

_MANIFESTS_KEPT: Final = 4096
_BODY_BYTES_KEPT: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Held:
    """What a tablet holds, or is being handed, under one identifier."""

    installed: bytes | None
    wanted: bytes | None
    command_id: UUID | None
    status: ProfileStatus
    just_said: bool = True
    """Whether the status may be of the tablet's present session."""


@dataclass(frozen=True, slots=True)
class Step:
    """The next thing to do: install `artifact` under `identifier`, or remove what is there when it is None."""

    identifier: str
    artifact: bytes | None


class Rest(Enum):
    """Why there is no step."""

    COMPLETE = "complete"
    BLOCKED = "blocked"
    """Something failed, and is not tried again until something else is wanted."""
    POSTPONED = "postponed"
    """The tablet said NotNow to what is left."""


def next_step(wanted: Mapping[str, bytes], held: Mapping[str, Held], *, idle: bool) -> Step | Rest:
    """Return the first step from `held` to `wanted`: installations, then removals, each by identifier.

    What the tablet put off is offered again when it is `idle`, which is how a session begins, or when it said so in
    an earlier session.
    """
    steps = [Step(identifier, artifact) for identifier, artifact in sorted(wanted.items())]
    steps += [Step(identifier, None) for identifier in sorted(held.keys() - wanted.keys())]
    rest = Rest.COMPLETE
    for step in steps:
        standing = held.get(step.identifier)
        if standing is None or standing.wanted != step.artifact:
            if not _is_met(step, standing):
                return step
        elif standing.status == ProfileStatus.FAILED:
            rest = Rest.BLOCKED if rest is Rest.COMPLETE else rest
        elif standing.status == ProfileStatus.NOT_NOW and standing.just_said and not idle:
            rest = Rest.POSTPONED
        elif not _is_met(step, standing):
            return step
    return rest


def _is_met(step: Step, standing: Held | None) -> bool:
    if standing is None:
        return step.artifact is None
    if step.artifact is None:  # an install that never took place leaves nothing to remove
        never = standing.wanted is not None and standing.status in (ProfileStatus.FAILED, ProfileStatus.NOT_NOW)
        return standing.installed is None and never
    # While something is pending nobody knows what is there; a failure or a NotNow left things as they were.
    return standing.installed == step.artifact and standing.status != ProfileStatus.PENDING


@dataclass(frozen=True, slots=True)
class ProfileHandout:
    """A profile to install, or to remove when `body` is None."""

    command_id: UUID
    identifier: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Work:
    """The outcome for several tablets: who gets what, whose wake-up may end, and whom to ask about again."""

    handed: Mapping[int, ProfileHandout]
    resting: Sequence[tuple[int, int, bool]]
    """Device id, generation of its wake-up, whether something was put off."""
    skipped: frozenset[int]
    """Another transaction holds the tablet's row: nothing was decided."""
    asked: frozenset[int] = frozenset()
    """Everything is installed, and questions about it now wait among the commands."""


@dataclass(frozen=True, slots=True)
class _Standing:
    device_id: int
    desired: bytes
    generation: int | None


_LOCK: Final = """
SELECT e.device_id, e.desired_manifest, w.generation
FROM enrollment e
LEFT JOIN LATERAL (SELECT w.generation FROM wakeup w WHERE w.device_id = e.device_id OFFSET 0) w ON true
WHERE e.device_id = ANY(%s::bigint[]) AND e.status = 'active' AND e.desired_manifest IS NOT NULL
ORDER BY e.device_id FOR NO KEY UPDATE OF e SKIP LOCKED
"""
_HELD: Final = f"""
SELECT device_id, identifier, installed, wanted, command_id, status, changed_at >= now() - {SESSION} FROM device_profile
WHERE device_id = ANY(%s::bigint[])
"""
_HAND_OUT: Final = """
INSERT INTO device_profile (device_id, identifier, wanted, command_id, status)
SELECT h.device_id, h.identifier, decode(h.wanted, 'hex'), h.command_id, 'pending'
FROM jsonb_to_recordset(%s::jsonb) AS h(device_id bigint, identifier text, wanted text, command_id uuid)
ON CONFLICT (device_id, identifier) DO UPDATE
SET wanted = excluded.wanted, command_id = excluded.command_id, status = 'pending', error = NULL, changed_at = now()
"""
_AWAKE: Final = f"""
WITH locked AS MATERIALIZED (
    SELECT w.device_id FROM wakeup w WHERE w.device_id = ANY (%s::bigint[]) FOR UPDATE SKIP LOCKED
)
UPDATE wakeup w SET {AWAKE} WHERE w.device_id = ANY (ARRAY (SELECT device_id FROM locked))
"""
_COMPLETE: Final = """
WITH done AS MATERIALIZED (
    SELECT r.device_id, decode(r.desired, 'hex') AS desired
    FROM jsonb_to_recordset(%s::jsonb) AS r(device_id bigint, desired text)
), forgotten AS (
    DELETE FROM device_profile p USING done
    WHERE p.device_id = done.device_id AND p.device_id = ANY (ARRAY (SELECT device_id FROM done))
        AND p.installed IS NULL
        AND NOT EXISTS (SELECT 1 FROM manifest_item m WHERE m.manifest = done.desired AND m.identifier = p.identifier)
)
UPDATE enrollment e SET installed_manifest = done.desired FROM done
WHERE e.device_id = done.device_id AND e.device_id = ANY (ARRAY (SELECT device_id FROM done))
    AND e.desired_manifest = done.desired
"""


class Shelf:
    """Manifests and artifact bodies that this process has read; both are named by their content and never change."""

    def __init__(self) -> None:
        self._manifests: OrderedDict[bytes, Mapping[str, bytes]] = OrderedDict()
        self._bodies: OrderedDict[bytes, bytes] = OrderedDict()
        self._size = 0

    async def manifests(
        self, connection: AsyncConnection[Any], names: set[bytes]
    ) -> Mapping[bytes, Mapping[str, bytes]]:
        """Return the items of these manifests; one without items, or unknown, is empty."""
        found = {name: self._manifests[name] for name in names if name in self._manifests}
        missing = names - found.keys()
        if missing:
            cursor = await connection.execute(
                "SELECT manifest, identifier, artifact FROM manifest_item WHERE manifest = ANY(%s::bytea[])",
                (list(missing),),
            )
            fresh: dict[bytes, dict[str, bytes]] = {name: {} for name in missing}
            for manifest, identifier, artifact in await cursor.fetchall():
                fresh[bytes(manifest)][identifier] = bytes(artifact)
            self._manifests.update(fresh)
            found.update(fresh)
            while len(self._manifests) > _MANIFESTS_KEPT:
                self._manifests.popitem(last=False)
        return found

    async def bodies(self, connection: AsyncConnection[Any], names: set[bytes]) -> Mapping[bytes, bytes]:
        """Return the bodies of these artifacts."""
        found = {name: self._bodies[name] for name in names if name in self._bodies}
        missing = names - found.keys()
        if missing:
            cursor = await connection.execute(
                "SELECT sha256, body FROM artifact WHERE sha256 = ANY(%s::bytea[])", (list(missing),)
            )
            for name, body in await cursor.fetchall():
                found[bytes(name)] = self._bodies[bytes(name)] = bytes(body)
                self._size += len(body)
            while self._size > _BODY_BYTES_KEPT:
                _, dropped = self._bodies.popitem(last=False)
                self._size -= len(dropped)
        return found


async def hand_out(connection: AsyncConnection[Any], shelf: Shelf, asking: Mapping[int, bool]) -> Work:
    """Return the next profile step of each tablet that has one, and note it as under way; settle those that have none.

    `asking` maps tablets to whether they are idle. Runs in the caller's transaction.
    """
    ids = sorted(asking)
    cursor = await connection.execute(_LOCK, (ids,))
    standing = [_Standing(row[0], bytes(row[1]), row[2]) for row in await cursor.fetchall()]
    skipped = frozenset(asking) - {one.device_id for one in standing}
    if not standing:
        return Work({}, (), skipped)
    held = await _held(connection, [one.device_id for one in standing])
    manifests = await shelf.manifests(connection, {one.desired for one in standing})
    steps: list[tuple[_Standing, Step, UUID]] = []
    rests: list[tuple[_Standing, Rest]] = []
    for one in standing:
        holds = held.get(one.device_id, {})
        step = next_step(manifests[one.desired], holds, idle=asking[one.device_id])
        if isinstance(step, Rest):
            rests.append((one, step))
        else:
            steps.append((one, step, _command_id(step, holds.get(step.identifier))))
    # Before wake-ups are touched: whoever asks people's questions takes the two in the same order.
    asked = await _write_complete(connection, [one for one, rest in rests if rest is Rest.COMPLETE])
    await _write_steps(connection, steps)
    bodies = await shelf.bodies(connection, {step.artifact for _, step, _ in steps if step.artifact is not None})
    handed = {
        one.device_id: ProfileHandout(command_id, step.identifier, bodies[step.artifact] if step.artifact else None)
        for one, step, command_id in steps
    }
    resting = [
        (one.device_id, one.generation, rest is Rest.POSTPONED)
        for one, rest in rests
        if one.generation is not None and one.device_id not in asked
    ]
    return Work(handed, resting, skipped, asked)


def _command_id(step: Step, standing: Held | None) -> UUID:
    """Keep the CommandUUID while the same thing is wanted, so that a repeat is harmless."""
    under_way = standing is not None and standing.status in (ProfileStatus.PENDING, ProfileStatus.NOT_NOW)
    if standing is not None and standing.command_id is not None and under_way and standing.wanted == step.artifact:
        return standing.command_id
    return uuid4()


async def _held(connection: AsyncConnection[Any], ids: Sequence[int]) -> dict[int, dict[str, Held]]:
    cursor = await connection.execute(_HELD, (list(ids),))
    held: dict[int, dict[str, Held]] = {}
    for device_id, identifier, installed, wanted, command_id, status, just_said in await cursor.fetchall():
        held.setdefault(device_id, {})[identifier] = Held(
            None if installed is None else bytes(installed),
            None if wanted is None else bytes(wanted),
            command_id,
            ProfileStatus(status),
            just_said,
        )
    return held


async def _write_steps(connection: AsyncConnection[Any], steps: Sequence[tuple[_Standing, Step, UUID]]) -> None:
    if not steps:
        return
    rows = [
        {
            "device_id": one.device_id,
            "identifier": step.identifier,
            "wanted": step.artifact.hex() if step.artifact is not None else None,
            "command_id": str(command_id),
        }
        for one, step, command_id in steps
    ]
    await connection.execute(_HAND_OUT, (json.dumps(rows),))
    woken = [one.device_id for one, _, _ in steps if one.generation is not None]
    if woken:
        await connection.execute(_AWAKE, (woken,))


async def _write_complete(connection: AsyncConnection[Any], done: Sequence[_Standing]) -> frozenset[int]:
    """Note that nothing is left to install, and return the tablets that are now asked to prove it."""
    if not done:
        return frozenset()
    rows = [{"device_id": one.device_id, "desired": one.desired.hex()} for one in done]
    await connection.execute(_COMPLETE, (json.dumps(rows),))
    uncalled = [one.device_id for one in done if one.generation is None]
    return await verification.ask(connection, {one.device_id: one.desired for one in done}, uncalled=uncalled)
