"""The content-addressed store of compiled artifacts and manifests, and what each tablet should hold.

It carries bodies unopened and knows no policy: whoever compiles puts the outcome here and names it by its SHA-256.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from mdm.errors import NotFound
from mdm.platform import Platform


@dataclass(frozen=True, slots=True)
class Parcel:
    """One compiled thing: its stable identifier and the bytes a tablet gets."""

    identifier: str
    body: bytes

    @property
    def sha256(self) -> bytes:
        """The name it is stored under."""
        return hashlib.sha256(self.body).digest()


@dataclass(frozen=True, slots=True)
class Draft:
    """A manifest that may not be stored yet: the parcels by identifier, and what the tablet cannot do of the policy."""

    platform: Platform
    parcels: tuple[Parcel, ...]
    cannot: tuple[tuple[str, str], ...] = ()

    @property
    def sha256(self) -> bytes:
        """Digest of platform, items and `cannot`: equal wishes are one manifest, whoever asks."""
        items = [[parcel.identifier, parcel.sha256.hex()] for parcel in self.parcels]
        canonical = json.dumps([self.platform, items, self.cannot], separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).digest()


def draft(platform: Platform, parcels: Iterable[Parcel], cannot: Iterable[tuple[str, str]] = ()) -> Draft:
    """Sort parcels and wishes into a draft; an identifier may come once (ValueError: a fault of the compiler)."""
    ordered = tuple(sorted(parcels, key=lambda parcel: parcel.identifier))
    if len({parcel.identifier for parcel in ordered}) != len(ordered):
        raise ValueError("two parcels under one identifier")
    return Draft(platform, ordered, tuple(sorted(cannot)))


def put(session: Session, wanted: Draft) -> bytes:
    """Store a manifest with its artifacts, once; returns its SHA-256. Storing again changes nothing."""
    if _is_stored(session, wanted.sha256):
        return wanted.sha256
    for parcel in wanted.parcels:
        session.execute(
            text(
                "INSERT INTO artifact (sha256, platform, identifier, body)"
                " VALUES (:sha, :platform, :identifier, :body) ON CONFLICT DO NOTHING"
            ),
            {
                "sha": parcel.sha256,
                "platform": wanted.platform.value,
                "identifier": parcel.identifier,
                "body": parcel.body,
            },
        )
    cannot = [{"pointer": place, "reason": reason} for place, reason in wanted.cannot]
    session.execute(
        text(
            "INSERT INTO manifest (sha256, platform, cannot) VALUES (:sha, :platform, CAST(:cannot AS jsonb))"
            " ON CONFLICT DO NOTHING"
        ),
        {"sha": wanted.sha256, "platform": wanted.platform.value, "cannot": json.dumps(cannot)},
    )
    for parcel in wanted.parcels:
        session.execute(
            text(
                "INSERT INTO manifest_item (manifest, identifier, artifact)"
                " VALUES (:manifest, :identifier, :artifact) ON CONFLICT DO NOTHING"
            ),
            {"manifest": wanted.sha256, "identifier": parcel.identifier, "artifact": parcel.sha256},
        )
    return wanted.sha256


def _is_stored(session: Session, manifest: bytes) -> bool:
    found = session.execute(text("SELECT 1 FROM manifest WHERE sha256 = :sha"), {"sha": manifest})
    return found.first() is not None


def items(session: Session, manifest: bytes) -> Mapping[str, bytes]:
    """Return the artifacts of a manifest by identifier; an unknown manifest and an empty one look the same."""
    rows = session.execute(
        text("SELECT identifier, artifact FROM manifest_item WHERE manifest = :sha ORDER BY identifier"),
        {"sha": manifest},
    )
    return {identifier: bytes(artifact) for identifier, artifact in rows}


def cannot(session: Session, manifest: bytes) -> list[dict[str, str]]:
    """Return what tablets with this manifest cannot do of their policy, as pointers and reasons."""
    row = session.execute(text("SELECT cannot FROM manifest WHERE sha256 = :sha"), {"sha": manifest}).first()
    if row is None:
        raise NotFound("there is no such manifest")
    wishes: list[dict[str, str]] = row[0]
    return wishes


def body(session: Session, artifact: bytes) -> bytes:
    """Return the bytes of one artifact; raises NotFound."""
    row = session.execute(text("SELECT body FROM artifact WHERE sha256 = :sha"), {"sha": artifact}).first()
    if row is None:
        raise NotFound("there is no such artifact")
    return bytes(row[0])


def hold_still(session: Session, device_ids: Sequence[int] | None) -> list[int]:
    """Lock the enrolments of these tablets, or of all marked stale: no fact may change between reading and wanting.

    Locks in the order of their ids, as every transaction that locks several must; returns the ids.
    """
    which = "desired_stale" if device_ids is None else "device_id = ANY(:ids)"
    rows = session.execute(
        text(f"SELECT device_id FROM enrollment WHERE {which} ORDER BY device_id FOR NO KEY UPDATE"),
        {} if device_ids is None else {"ids": list(device_ids)},
    )
    return [device_id for (device_id,) in rows]


def want(session: Session, manifest: bytes, device_ids: Sequence[int]) -> None:
    """Make this the desired manifest of these tablets. Who is woken for it is the caller's business.

    What they had installed counts as unknown until they are heard again: one that is half way to something else and
    is told to go back does not hold the old manifest any more.
    """
    session.execute(
        text(
            "UPDATE enrollment SET desired_manifest = :sha, installed_manifest = NULL, desired_stale = false"
            " WHERE device_id = ANY(:ids)"
        ),
        {"sha": manifest, "ids": list(device_ids)},
    )


def settled(session: Session, device_ids: Sequence[int]) -> None:
    """Say that what these tablets should hold has been looked at and stays."""
    session.execute(
        text("UPDATE enrollment SET desired_stale = false WHERE desired_stale AND device_id = ANY(:ids)"),
        {"ids": list(device_ids)},
    )


def forgive(session: Session, device_ids: Sequence[int]) -> list[int]:
    """Let what failed on these tablets be tried again; returns those where something had. Lock them first."""
    rows = session.execute(
        text(
            "WITH failed AS (SELECT device_id, identifier, installed FROM device_profile"
            " WHERE status = 'failed' AND device_id = ANY(:ids)), forgotten AS ("
            " DELETE FROM device_profile p USING failed f"
            " WHERE p.device_id = f.device_id AND p.identifier = f.identifier AND f.installed IS NULL), back AS ("
            " UPDATE device_profile p SET status = 'installed', wanted = p.installed, error = NULL, changed_at = now()"
            " FROM failed f"
            " WHERE p.device_id = f.device_id AND p.identifier = f.identifier AND f.installed IS NOT NULL)"
            " SELECT DISTINCT device_id FROM failed ORDER BY device_id"
        ),
        {"ids": list(device_ids)},
    )
    return [device_id for (device_id,) in rows]
