"""The limits that hold: set them, read them, tell their history. Applies none of them; that is the workers' part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.audit import chain
from mdm.auth import SCOPE_SQL, Action, Principal, Scope
from mdm.errors import Forbidden, Invalid, NotFound
from mdm.limits import values
from mdm.limits.models import ThrottleLimit
from mdm.limits.values import OF_SCHOOLS, ByteRate, Downloads, Gate, Gigabytes, Name, Rate, Value
from mdm.organization import schools
from mdm.platform import Platform
from mdm.settings import get_settings


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits at one moment."""

    values: Mapping[Name, Value]
    of_schools: Mapping[tuple[Name, int], Value] = field(default_factory=dict)
    """Only what a school has of its own, by school id."""

    def rate(self, name: Name) -> Rate:
        """Return a limit in wake-ups: `FLEET`, `DEVICE` or `URGENT`."""
        return cast("Rate", self.values[name])

    def provider(self, platform: Platform) -> Rate:
        """Return what the push service of a platform is asked for."""
        return self.rate(Name(f"provider.{platform}"))

    def school(self, school_id: int) -> Rate:
        """Return a school's wake-ups."""
        return cast("Rate", self._of(Name.SCHOOL, school_id))

    def school_bytes(self, school_id: int) -> ByteRate:
        """Return what a school's tablets may be made to fetch."""
        return cast("ByteRate", self._of(Name.SCHOOL_BYTES, school_id))

    def school_downloads(self, school_id: int) -> Downloads:
        """Return how many of a school's tablets may fetch something big at once."""
        return cast("Downloads", self._of(Name.SCHOOL_DOWNLOADS, school_id))

    @property
    def gate_gb(self) -> float:
        """The weight in GB above which a rollout needs a second operator."""
        return cast("Gate", self.values[Name.GATE]).gb

    @property
    def pool_gb(self) -> float | None:
        """The month's data pool in GB, where there is one."""
        return cast("Gigabytes", self.values[Name.POOL]).gb

    def _of(self, name: Name, school_id: int) -> Value:
        return self.of_schools.get((name, school_id), self.values[name])


@dataclass(frozen=True, slots=True)
class Line:
    """A limit as it is shown: `set_at` None says that nobody has set it and the first value of the settings holds.

    In a history, `value` None says that it was taken back.
    """

    id: int
    name: str
    school: str | None
    value: dict[str, Any] | None
    set_at: datetime | None
    set_by: str
    reason: str


def first() -> Limits:
    """Return the limits that hold before anybody sets one: the settings'."""
    first_values = values.first_values(get_settings().throttle)
    return Limits({name: values.stored(name, value) for name, value in first_values.items()})


def current(session: Session) -> Limits:
    """Return all limits as they hold now, by one query."""
    found = dict(first().values)
    own: dict[tuple[Name, int], Value] = {}
    for row in session.execute(text(_NEWEST), _KNOWN):
        if row.value is None:
            continue
        name = Name(row.name)
        if row.school_id is None:
            found[name] = values.stored(name, row.value)
        else:
            own[name, row.school_id] = values.stored(name, row.value)
    return Limits(found, own)


_NEWEST: Final = (
    "SELECT DISTINCT ON (name, school_id) * FROM throttle_limit WHERE name = ANY(CAST(:names AS text[]))"
    " ORDER BY name, school_id, id DESC"
)
_KNOWN: Final = {"names": [name.value for name in Name]}
"""A newer version may know more names."""


def newest_id(session: Session) -> int:
    """Return the id of the last setting, 0 before the first: unchanged as long as no limit has changed."""
    return int(session.execute(text("SELECT coalesce(max(id), 0) FROM throttle_limit")).scalar_one())


def overview(session: Session, scope: Scope) -> list[Line]:
    """Return every limit as it holds now, then what the schools in scope have of their own."""
    rows = session.execute(
        text(
            f"SELECT l.id, l.name, s.code AS school, l.value, l.set_at, l.set_by, l.reason FROM ({_NEWEST}) l"
            " LEFT JOIN school s ON s.id = l.school_id"
            f" WHERE l.value IS NOT NULL AND (l.school_id IS NULL OR {SCOPE_SQL.format(column='l.school_id')})"
            " ORDER BY s.code, l.name"
        ),
        {"schools": scope.parameter, **_KNOWN},
    ).all()
    set_ = [Line(*row) for row in rows]
    shared = {line.name: line for line in set_ if line.school is None}
    first = values.first_values(get_settings().throttle)
    lines = [shared.get(name, Line(0, name.value, None, first[name], None, "", "")) for name in Name]
    return lines + [line for line in set_ if line.school is not None]


def history(
    session: Session, scope: Scope, *, name: Name, school: str | None, before: int | None, limit: int
) -> list[Line]:
    """Return the settings of one limit, newest first: everybody's, or a school's own by its code."""
    school_id = None if school is None else schools.find_school(session, scope, school).id
    rows = session.execute(
        text(
            "SELECT l.id, l.name, CAST(:code AS text) AS school, l.value, l.set_at, l.set_by, l.reason"
            " FROM throttle_limit l WHERE l.name = :name AND l.school_id IS NOT DISTINCT FROM CAST(:id AS bigint)"
            " AND (CAST(:before AS bigint) IS NULL OR l.id < :before) ORDER BY l.id DESC LIMIT :limit"
        ),
        {"code": school, "id": school_id, "name": name.value, "before": before, "limit": limit},
    )
    return [Line(*row) for row in rows]


def set_limit(
    session: Session,
    principal: Principal,
    name: Name,
    value: Mapping[str, Any] | None,
    *,
    school: str | None = None,
    reason: str = "",
) -> Line:
    """Set a limit, everybody's or one school's own (by code); None takes it back. Workers see it within two seconds.

    Raises `Forbidden` for other than administrators, of all schools unless it is a school's; `Invalid` names fields.
    """
    principal.must(Action.SET_LIMITS)
    school_id = _school_of(session, principal, name, school)
    present = _present(session, name, school_id)
    row = ThrottleLimit(
        name=name.value,
        school_id=school_id,
        value=None if value is None else values.read(name, value, present),
        set_at=clock.now(),
        set_by=principal.actor[:80],
        reason=reason.strip()[:400],
    )
    session.add(row)
    session.flush()
    # Not the reason: people write names into it, and the trail is for ever.
    subject = f"limit:{name.value}" + (f":{school}" if school else "")
    chain.record(session, principal, "limit.set", subject, {"value": row.value, "before": present})
    return Line(row.id or 0, name.value, school, row.value, row.set_at, row.set_by, row.reason)


def _school_of(session: Session, principal: Principal, name: Name, school: str | None) -> int | None:
    if school is None:
        if not principal.scope.all_schools:
            raise Forbidden("this limit is everybody's: it takes an administrator of all schools")
        return None
    if name not in OF_SCHOOLS:
        detail = f"only {', '.join(sorted(OF_SCHOOLS))} can be a school's own"
        raise Invalid("this limit is the same for all schools", errors=[{"pointer": "/school", "detail": detail}])
    try:
        return schools.find_school(session, principal.scope, school).id
    except NotFound:
        detail = "there is no such school"
        raise Invalid(detail, errors=[{"pointer": "/school", "detail": detail}]) from None


def _present(session: Session, name: Name, school_id: int | None) -> dict[str, Any]:
    """Return the value that holds now, for the parts that a new one leaves out."""
    held = current(session)
    value = held.values[name] if school_id is None else held.of_schools.get((name, school_id), held.values[name])
    return value.model_dump(exclude_none=True)
