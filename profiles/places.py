"""Places in the ledger that a policy speaks for or a rollout goes to: the fleet, a school, a class, one tablet.

The SQL from a place to its tablets, always within an operator's scope; no policy is read here.
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from mdm.auth.principal import Scope
from mdm.errors import Invalid, NotFound
from profiles.models import Layer as LayerColumn
from profiles.policy import Layer, LayerKind

_COLUMN = {
    LayerKind.FLEET: LayerColumn.FLEET,
    LayerKind.SCHOOL: LayerColumn.SCHOOL,
    LayerKind.CLASS: LayerColumn.CLASS,
    LayerKind.SERIAL: LayerColumn.TABLET,
}


@dataclass(frozen=True, slots=True)
class Place:
    """A layer found in the ledger: the ids that the `policy` row carries, and the school it lies in."""

    layer: LayerColumn
    school_id: int | None = None
    class_id: int | None = None
    device_id: int | None = None
    within: int | None = None
    """The school it belongs to; None for the fleet."""

    def covers(self, other: "Place") -> bool:
        """Whether everything of `other`, now and later, lies in this place."""
        match self.layer:
            case LayerColumn.FLEET:
                return True
            case LayerColumn.SCHOOL:
                return other.within == self.within and other.layer is not LayerColumn.TABLET
            case LayerColumn.CLASS:
                return other.class_id == self.class_id and other.layer is LayerColumn.CLASS
            case LayerColumn.TABLET:
                return other.device_id == self.device_id


def parse(target: str) -> Layer:
    """Read a target as the command line writes it; raises Invalid."""
    try:
        return Layer.parse(target)
    except ValueError:
        detail = "write fleet, school=CODE, class=CODE/6/1 or serial=S"
        raise Invalid("the target is not understood", errors=[{"pointer": "/target", "detail": detail}]) from None


def find(session: Session, layer: Layer, scope: Scope) -> Place:
    """Find a layer in the ledger; NotFound when it is not there, or not in the caller's scope."""
    statement = {
        LayerKind.SCHOOL: "SELECT s.id, NULL, NULL, s.id FROM school s WHERE s.code = :key",
        LayerKind.CLASS: (
            "SELECT NULL, c.id, NULL, s.id FROM school_class c JOIN school s ON s.id = c.school_id"
            " WHERE s.code = split_part(:key, '/', 1) AND c.year::text = split_part(:key, '/', 2)"
            " AND c.name = split_part(:key, '/', 3)"
        ),
        LayerKind.SERIAL: "SELECT NULL, NULL, d.id, d.school_id FROM device d WHERE d.serial = :key",
    }
    if layer.kind is LayerKind.FLEET:
        return Place(LayerColumn.FLEET)
    row = session.execute(text(statement[layer.kind]), {"key": layer.key}).first()
    if row is None or not (scope.all_schools or row[3] in scope.school_ids):
        raise NotFound(f"{layer} is not in the ledger")
    return Place(_COLUMN[layer.kind], *row)


def condition(*places: Place, scope: Scope) -> tuple[str, dict[str, object]]:
    """Return SQL, and its values, for the tablets that lie in all these places and in scope.

    It speaks of `device d` with its holder, if any, as `h`.
    """
    conditions, values = ["(:all_schools OR d.school_id = ANY(:schools))"], dict[str, object]()
    values |= {"all_schools": scope.all_schools, "schools": sorted(scope.school_ids)}
    for number, each in enumerate(places):
        match each.layer:
            case LayerColumn.SCHOOL:
                conditions.append(f"d.school_id = :at{number}")
                values[f"at{number}"] = each.school_id
            case LayerColumn.CLASS:
                conditions.append(f"h.class_id = :at{number}")
                values[f"at{number}"] = each.class_id
            case LayerColumn.TABLET:
                conditions.append(f"d.id = :at{number}")
                values[f"at{number}"] = each.device_id
            case LayerColumn.FLEET:
                pass
    return " AND ".join(conditions), values


def members(session: Session, *places: Place, scope: Scope) -> list[int]:
    """Return the ids of the tablets that lie in all the places and in scope, in order; enrolled or not."""
    sql, values = condition(*places, scope=scope)
    rows = session.execute(
        text(f"SELECT d.id FROM device d LEFT JOIN holder h ON h.id = d.holder_id WHERE {sql} ORDER BY d.id"), values
    )
    return [device_id for (device_id,) in rows]


def layers_of(session: Session, device_id: int) -> list[str]:
    """The layers that a tablet lies in, the widest first, as policies name them."""
    row = session.execute(
        text(
            "SELECT s.code, c.year, c.name, d.serial, k.code FROM device d JOIN school s ON s.id = d.school_id"
            " LEFT JOIN holder h ON h.id = d.holder_id LEFT JOIN school_class c ON c.id = h.class_id"
            " LEFT JOIN school k ON k.id = c.school_id WHERE d.id = :id"
        ),
        {"id": device_id},
    ).one()
    school, year, name, serial, class_school = row
    room = [] if year is None else [f"class={class_school}/{year}/{name}"]
    return ["fleet", f"school={school}", *room, f"serial={serial}"]
