"""Who is in a rollout: the SQL from a target to its frozen rows, each with its wave or the reason why it is left out.

It is counted and copied inside the database, so 150,000 tablets weigh here what 15 do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm.auth.principal import Scope
from mdm.errors import Invalid, NotFound
from profiles import places
from profiles.models import Layer as LayerColumn
from profiles.places import Place
from profiles.rollouts import waves
from profiles.rollouts.waves import Draft, Wave

PAGE = 5000
"""Tablets that are looked at together."""

# The bucket is strewn by tablet and rollout, so that it is not always the same tablets that go first.
_MEMBERS = """
WITH taken AS (
    SELECT kind, key, min(draft) AS draft
    FROM unnest(CAST(:kinds AS text[]), CAST(:keys AS bigint[]), CAST(:drafts AS int[])) AS t (kind, key, draft)
    GROUP BY 1, 2
), barred AS (
    SELECT DISTINCT ON (kind, key) * FROM unnest(CAST(:barred_kinds AS text[]), CAST(:barred_keys AS bigint[]),
        CAST(:barred_words AS text[])) AS t (kind, key, word) ORDER BY kind, key, word
), member AS (
    SELECT d.id AS device_id, d.school_id, coalesce(bt.word, bc.word, bs.word) AS barred,
        CASE WHEN coalesce(bt.word, bc.word, bs.word) IS NOT NULL
             THEN 'left out: ' || coalesce(bt.word, bc.word, bs.word)
             WHEN d.state IN ('lost', 'returned', 'retired') THEN d.state
             WHEN e.status <> 'active' THEN 'not enrolled' END AS excluded,
        coalesce(least(ts.draft, tc.draft, tt.draft),
            CAST(:after AS int) + width_bucket(
                ('x' || substr(md5(concat(d.id, CAST(:seed AS text))), 1, 8))::bit(32)::bigint
                % CAST(:buckets AS bigint), CAST(:untils AS bigint[]))) AS draft
    FROM device d JOIN enrollment e ON e.device_id = d.id LEFT JOIN holder h ON h.id = d.holder_id
    LEFT JOIN taken ts ON ts.kind = 'school' AND ts.key = d.school_id
    LEFT JOIN taken tc ON tc.kind = 'class' AND tc.key = h.class_id
    LEFT JOIN taken tt ON tt.kind = 'tablet' AND tt.key = d.id
    LEFT JOIN barred bs ON bs.kind = 'school' AND bs.key = d.school_id
    LEFT JOIN barred bc ON bc.kind = 'class' AND bc.key = h.class_id
    LEFT JOIN barred bt ON bt.kind = 'tablet' AND bt.key = d.id
    WHERE {condition}
)
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Tablets of one school in a snapshot that are left out for the same reason, or (None) not."""

    school: str
    excluded: str | None
    tablets: int


@dataclass(frozen=True, slots=True)
class Frame:
    """Which tablets a rollout is about: those in all the places and in scope, but for what was left out by hand."""

    places: tuple[Place, ...]
    scope: Scope
    barred: Mapping[str, Place] = field(default_factory=dict)
    """Places that are left out, by how they were written."""


def named(session: Session, written: Sequence[str], scope: Scope, *, at: str) -> dict[str, Place]:
    """Find places by how they are written (`at` points to the list); Invalid names each that is wrong or not there."""
    found, errors = {}, []
    for number, each in enumerate(written):
        try:
            layer = places.parse(each)
            place = places.find(session, layer, scope)
        except (Invalid, NotFound) as error:
            errors.append({"pointer": f"{at}/{number}", "detail": error.detail})
            continue
        if place.layer is LayerColumn.FLEET:
            errors.append({"pointer": f"{at}/{number}", "detail": "name a school, a class or a tablet"})
        found[str(layer)] = place
    if errors:
        raise Invalid("a list of places has errors", errors=errors)
    return found


def reachable(session: Session, frame: Frame) -> int:
    """Count the tablets that are in and can be reached."""
    return sum(group.tablets for group in survey(session, frame) if group.excluded is None)


def schools(session: Session, frame: Frame) -> list[str]:
    """Return the codes of the schools that tablets of the frame are in, in order."""
    return sorted({group.school for group in survey(session, frame)})


def survey(session: Session, frame: Frame) -> list[Group]:
    """Count who would be in and who left out, by school and reason."""
    sql, values = _members(session, frame, [], seed=None)
    rows = session.execute(
        text(
            f"{sql} SELECT s.code, m.excluded, count(*) FROM member m JOIN school s ON s.id = m.school_id"
            " GROUP BY 1, 2 ORDER BY 1, 2 NULLS FIRST"
        ),
        values,
    )
    return [Group(code, excluded, int(number)) for code, excluded, number in rows]


def take(session: Session, rollout_id: UUID, frame: Frame, drafts: Sequence[Draft]) -> list[Wave]:
    """Freeze the tablets of a rollout, each in its wave; returns the waves. Nothing is released by it.

    Tablets that cannot be reached now are in the last wave; those left out by hand, or in no wave, in none.
    """
    sql, values = _members(session, frame, drafts, seed=rollout_id)
    rows = session.execute(
        text(
            f"{sql} SELECT draft, count(*) FROM member WHERE excluded IS NULL AND draft IS NOT NULL"
            " GROUP BY 1 ORDER BY 1"
        ),
        values,
    )
    found, numbers = waves.numbered(drafts, {int(draft): int(size) for draft, size in rows})
    session.execute(
        text(
            f"{sql} INSERT INTO rollout_target (rollout_id, device_id, excluded, wave, released_at)"
            " SELECT :rollout, device_id, coalesce(excluded, CASE WHEN draft IS NULL THEN 'in no wave' END),"
            " CASE WHEN barred IS NOT NULL OR draft IS NULL THEN NULL WHEN excluded IS NOT NULL THEN CAST(:last AS int)"
            " ELSE (CAST(:numbers AS int[]))[draft + 1] END, NULL FROM member"
        ),
        {
            **values,
            "rollout": rollout_id,
            "last": found[-1].number,
            "numbers": [numbers[place] for place in range(len(drafts))],
        },
    )
    session.execute(
        text(
            "INSERT INTO rollout_wave (rollout_id, number, name, size) SELECT :rollout, w.number, w.name, w.size"
            " FROM unnest(CAST(:numbers AS int[]), CAST(:names AS text[]), CAST(:sizes AS int[]))"
            " AS w (number, name, size)"
        ),
        {
            "rollout": rollout_id,
            "numbers": [wave.number for wave in found],
            "names": [wave.name for wave in found],
            "sizes": [wave.size for wave in found],
        },
    )
    return found


def pages(session: Session, rollout_id: UUID) -> Iterator[tuple[list[int], set[int]]]:
    """Yield the tablets that are to get the revision, some thousand at a time, with those of them that are left out."""
    after = 0
    while True:
        rows = session.execute(
            text(
                "SELECT device_id, excluded IS NOT NULL FROM rollout_target WHERE rollout_id = :rollout"
                " AND wave IS NOT NULL AND device_id > :after ORDER BY device_id LIMIT :page"
            ),
            {"rollout": rollout_id, "after": after, "page": PAGE},
        ).all()
        if not rows:
            return
        after = rows[-1][0]
        yield [device_id for device_id, _ in rows], {device_id for device_id, left_out in rows if left_out}


def digest(session: Session, rollout_id: UUID) -> bytes:
    """Return SHA-256 over what a rollout would do: the revision, and which tablet is in which wave."""
    row = session.execute(
        text(
            "SELECT sha256(convert_to(concat(r.policy_id, '/', r.revision, '/', (SELECT encode(v.sha256, 'hex')"
            " FROM policy_revision v WHERE v.policy_id = r.policy_id AND v.number = r.revision), ':',"
            " (SELECT string_agg(concat(t.device_id, '=', t.wave), ',' ORDER BY t.device_id)"
            " FROM rollout_target t WHERE t.rollout_id = r.id)), 'UTF8')) FROM rollout r WHERE r.id = :rollout"
        ),
        {"rollout": rollout_id},
    ).one()
    return bytes(row[0])


def _members(
    session: Session, frame: Frame, drafts: Sequence[Draft], *, seed: UUID | None
) -> tuple[str, dict[str, object]]:
    """Return the common part of the statements, and its values."""
    condition, values = places.condition(*frame.places, scope=frame.scope)
    taken = [
        (kind, key, number)
        for number, draft in enumerate(drafts)
        for kind, key in (_key(place) for place in _found(session, draft.places))
    ]
    left_out = [(*_key(place), word) for word, place in frame.barred.items()]
    untils = [draft.until for draft in drafts if draft.until is not None]
    return _MEMBERS.format(condition=condition), {
        **values,
        "kinds": [kind for kind, _, _ in taken],
        "keys": [key for _, key, _ in taken],
        "drafts": [number for _, _, number in taken],
        "barred_kinds": [kind for kind, _, _ in left_out],
        "barred_keys": [key for _, key, _ in left_out],
        "barred_words": [word for _, _, word in left_out],
        "after": sum(draft.until is None for draft in drafts),
        "untils": untils or None,
        "buckets": waves.BUCKETS,
        "seed": f"/{seed}",
    }


def _found(session: Session, written: Sequence[str]) -> list[Place]:
    """Find the places of a wave; one that the ledger has lost meanwhile takes nobody."""
    found = []
    for each in written:
        try:
            found.append(places.find(session, places.parse(each), Scope(all_schools=True)))
        except NotFound:
            continue
    return found


def _key(place: Place) -> tuple[str, int]:
    key = {
        LayerColumn.SCHOOL: place.school_id,
        LayerColumn.CLASS: place.class_id,
        LayerColumn.TABLET: place.device_id,
    }.get(place.layer)
    assert key is not None, "the fleet is no part of itself"
    return place.layer.value, key
