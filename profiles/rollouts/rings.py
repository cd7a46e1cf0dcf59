"""Rings: named groups of places, in the order in which rollouts reach them ("IT office" first).

They are only kept and looked up here; which waves a rollout makes of them is its own business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm.audit import chain
from mdm.auth import SCOPE_SQL, Action, Principal, Scope
from mdm.errors import Forbidden, Invalid, MdmError, NotFound
from profiles import models, places
from profiles.policy import Layer, LayerKind

MAX_PLACES = 200

_FOUND = """
WITH written AS (
    SELECT r.id AS ring_id, r.position, p.number, p.place, split_part(p.place, '=', 1) AS kind,
           substr(p.place, strpos(p.place, '=') + 1) AS key
    FROM ring r, jsonb_array_elements_text(r.places) WITH ORDINALITY AS p (place, number)
), found AS (
    SELECT w.*, s.id AS school_id, NULL::bigint AS class_id, NULL::bigint AS device_id
    FROM written w JOIN school s ON w.kind = 'school' AND s.code = w.key
    UNION ALL
    SELECT w.*, s.id, c.id, NULL FROM written w
    JOIN school s ON w.kind = 'class' AND s.code = split_part(w.key, '/', 1)
    JOIN school_class c ON c.school_id = s.id AND c.year::text = split_part(w.key, '/', 2)
        AND c.name = split_part(w.key, '/', 3)
    UNION ALL
    SELECT w.*, d.school_id, NULL, d.id FROM written w JOIN device d ON w.kind = 'serial' AND d.serial = w.key
)"""
_FIRST = """
SELECT lain.device_id, min(lain.position) AS position FROM (
    SELECT d.id AS device_id, f.position FROM found f JOIN device d ON d.school_id = f.school_id
    WHERE f.kind = 'school' AND {asked}
    UNION ALL
    SELECT d.id, f.position FROM found f JOIN holder h ON h.class_id = f.class_id JOIN device d ON d.holder_id = h.id
    WHERE {asked}
    UNION ALL
    SELECT d.id, f.position FROM found f JOIN device d ON d.id = f.device_id WHERE {asked}
) lain GROUP BY lain.device_id"""
_ASKED = "d.id = ANY(CAST(:device_ids AS bigint[]))"
FIRST_RINGS_SQL = f"""{_FOUND}
SELECT first.device_id, r.position, r.name
FROM ({_FIRST.format(asked=_ASKED)}) first JOIN ring r ON r.position = first.position"""
"""(device_id, position, name) of the first ring in which each tablet of `:device_ids` lies; no row: in none."""


@dataclass(frozen=True, slots=True)
class Ring:
    """A ring as an operator sees it."""

    name: str
    position: int
    """1 is reached first."""
    places: list[str]
    """As written, only those in the operator's scope."""
    tablets: int
    """How many tablets of the operator's schools have this as their first ring now."""


def ordered(session: Session, scope: Scope | None = None) -> list[Ring]:
    """Return the rings in their order; with a scope, places and tablets of other schools are left out."""
    parameters = {"schools": None if scope is None else scope.parameter}
    counts = session.execute(
        text(
            f"{_FOUND} SELECT first.position, count(*) AS tablets FROM ({_FIRST.format(asked='TRUE')}) first"
            f" JOIN device t ON t.id = first.device_id WHERE {SCOPE_SQL.format(column='t.school_id')} GROUP BY 1"
        ),
        parameters,
    )
    seen = session.execute(
        text(
            f"{_FOUND} SELECT f.ring_id, f.place FROM found f WHERE {SCOPE_SQL.format(column='f.school_id')}"
            " ORDER BY f.ring_id, f.number"
        ),
        parameters,
    )
    tablets: dict[int, int] = {each.position: each.tablets for each in counts}
    within: dict[int, list[str]] = {}
    for ring_id, place in seen:
        within.setdefault(ring_id, []).append(place)
    return [
        Ring(row.name, row.position, _shown(row, scope, within), tablets.get(row.position, 0)) for row in _rows(session)
    ]


def first_rings(session: Session, device_ids: Sequence[int]) -> dict[int, str]:
    """Return the name of each tablet's first ring by its id; tablets that lie in none are left out."""
    rows = session.execute(text(FIRST_RINGS_SQL), {"device_ids": list(device_ids)})
    return {device_id: name for device_id, _, name in rows}


def put(
    session: Session, principal: Principal, name: str, asked: Sequence[str], *, position: int | None = None
) -> Ring:
    """Make a ring or replace its places. `position` (from 1) moves it among the others; None keeps it or adds it last.

    Raises Invalid with a pointer for each place that is not understood or not in the ledger. An administrator of all
    schools does this: a ring decides for the whole district who is tried first.
    """
    _must_have_all(principal)
    written = _checked(session, asked)
    _lock(session)
    rows = _rows(session)
    row = next((each for each in rows if each.name == name), None)
    others = [each for each in rows if each is not row]
    place = (row.position if row is not None else len(rows) + 1) if position is None else position
    if row is None:
        row = models.Ring(name=name, position=place, places=written)
    row.places = written
    others.insert(min(place, len(others) + 1) - 1, row)
    _number(session, others)
    details: dict[str, Any] = {"position": row.position, "places": written}
    chain.record(session, principal, "ring.put", f"ring:{name}", details)
    return next(each for each in ordered(session) if each.name == name)


def drop(session: Session, principal: Principal, name: str) -> None:
    """Remove a ring; rollouts that have begun keep their waves. Raises NotFound."""
    _must_have_all(principal)
    _lock(session)
    rows = _rows(session)
    row = next((each for each in rows if each.name == name), None)
    if row is None:
        raise NotFound("there is no such ring")
    session.delete(row)
    session.flush()
    _number(session, [each for each in rows if each is not row])
    chain.record(session, principal, "ring.drop", f"ring:{name}")


def _must_have_all(principal: Principal) -> None:
    principal.must(Action.RUN_ROLLOUTS)
    if not principal.scope.all_schools:
        raise Forbidden("rings are the district's: an administrator of all schools changes them")


def _lock(session: Session) -> None:
    """One change at a time, readers apart: positions are numbered anew by each."""
    session.execute(text("LOCK TABLE ring IN SHARE ROW EXCLUSIVE MODE"))


def _rows(session: Session) -> list[models.Ring]:
    return list(session.exec(select(models.Ring).order_by(col(models.Ring.position), col(models.Ring.id))).all())


def _number(session: Session, rows: Sequence[models.Ring]) -> None:
    for number, row in enumerate(rows, start=1):
        row.position = number
        session.add(row)
    session.flush()


def _shown(row: models.Ring, scope: Scope | None, within: dict[int, list[str]]) -> list[str]:
    """A district's operator also sees what the ledger no longer knows."""
    assert row.id is not None
    return list(row.places) if scope is None or scope.all_schools else within.get(row.id, [])


def _checked(session: Session, asked: Sequence[str]) -> list[str]:
    """The places in normal form, each once; Invalid names every wrong one."""
    if not 1 <= len(asked) <= MAX_PLACES:
        detail = f"a ring has 1 to {MAX_PLACES} places"
        raise Invalid(detail, errors=[{"pointer": "/places", "detail": detail}])
    written: dict[str, None] = {}
    errors: list[dict[str, str]] = []
    for number, each in enumerate(asked):
        try:
            written[_place(session, each)] = None
        except MdmError as wrong:
            errors.append({"pointer": f"/places/{number}", "detail": wrong.detail})
    if errors:
        raise Invalid("the ring has places that are wrong or not in the ledger", errors=errors)
    return list(written)


def _place(session: Session, asked: str) -> str:
    try:
        layer = Layer.parse(asked)
    except ValueError:
        layer = None
    if layer is None or layer.kind is LayerKind.FLEET:
        raise Invalid("write school=CODE, class=CODE/6/1 or serial=S")
    places.find(session, layer, Scope(all_schools=True))
    return str(layer)
