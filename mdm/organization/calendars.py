"""School calendars: the district's, and what schools have of their own; kept, and given out as values.

What is planned for a closed hour is for rollouts and forecasts to say; nothing here moves a wake-up.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from mdm import clock
from mdm.audit import chain
from mdm.auth import SCOPE_SQL, Action, Principal, Scope
from mdm.errors import Forbidden, Invalid, NotFound
from mdm.organization import schools
from mdm.organization.calendar_document import EMPTY, CalendarDocument, merged
from mdm.organization.hours import Calendar
from mdm.organization.models import SchoolCalendar

DISTRICT: Final = "district"
"""Stands for the district where a school's code would stand."""


@dataclass(frozen=True, slots=True)
class Written:
    """A calendar of a file: for whom, and what."""

    school: str
    """A school's code, or `DISTRICT`."""
    document: CalendarDocument
    line: int | None = field(default=None, compare=False)
    """Where the file says whose it is."""


def calendars_of(session: Session, school_ids: Iterable[int]) -> Mapping[int, Calendar]:
    """Return the calendar of each of these schools by id, in one query. Without any the calendar closes nothing."""
    rows = session.execute(
        text(
            "SELECT w.id, d.document AS district, o.document AS own"
            " FROM unnest(CAST(:ids AS bigint[])) AS w (id)"
            " LEFT JOIN school_calendar d ON d.school_id IS NULL"
            " LEFT JOIN school_calendar o ON o.school_id = w.id"
        ),
        {"ids": sorted(set(school_ids))},
    ).all()
    district = _read(rows[0].district) if rows and rows[0].district is not None else EMPTY
    # Most schools have none of their own and share one value: whoever computes by calendar does it once.
    shared = merged(district, None)
    return {row.id: shared if row.own is None else merged(district, _read(row.own)) for row in rows}


def holding(session: Session, scope: Scope, school: str | None) -> Calendar:
    """Return the calendar that holds for a school by its code, or for the district (None); `NotFound` out of scope."""
    if school is None:
        return merged(written(session, scope, None) or EMPTY, None)
    school_id = schools.find_school(session, scope, school).id
    return calendars_of(session, [school_id])[school_id]


def written(session: Session, scope: Scope, school: str | None) -> CalendarDocument | None:
    """Return what was set for the district (None) or for a school by its code; None when nothing was.

    `NotFound` for a school outside the scope.
    """
    school_id = None if school is None else schools.find_school(session, scope, school).id
    row = session.exec(_of(school_id)).first()
    return None if row is None else _read(row.document)


def with_own(session: Session, scope: Scope) -> list[str]:
    """Return the codes of the schools in scope that have a calendar of their own."""
    statement = text(
        "SELECT s.code FROM school_calendar c JOIN school s ON s.id = c.school_id"
        f" WHERE {SCOPE_SQL.format(column='s.id')} ORDER BY s.code"
    )
    return list(session.execute(statement, {"schools": scope.parameter}).scalars())


def put(session: Session, principal: Principal, school: str | None, document: CalendarDocument) -> bool:
    """Set the district's calendar (None) or a school's own by its code; returns whether that changed anything.

    `Forbidden` for the district's unless the operator administers all schools, `NotFound` outside the scope.
    """
    school_id = _may_set(session, principal, school)
    if school is None and document.only_own_closed:
        detail = "only a school can leave the district's closed days out"
        raise Invalid(detail, errors=[{"pointer": "/only_own_closed", "detail": detail}])
    row = session.exec(_of(school_id).with_for_update()).first()
    if row is not None and _read(row.document) == document:
        return False
    session.execute(
        text(
            "INSERT INTO school_calendar (school_id, document, updated_at)"
            " VALUES (:school, CAST(:document AS jsonb), :now) ON CONFLICT (school_id)"
            " DO UPDATE SET document = excluded.document, updated_at = excluded.updated_at"
        ),
        {"school": school_id, "document": document.model_dump_json(), "now": clock.now()},
    )
    session.expire_all()
    details = {"class_hours": document.class_hours is not None, "closed": len(document.closed)}
    chain.record(session, principal, "calendar.set", _subject(school), details)
    return True


def drop(session: Session, principal: Principal, school: str | None) -> None:
    """Remove the district's calendar (None) or a school's own; `NotFound` when there is none."""
    school_id = _may_set(session, principal, school)
    row = session.exec(_of(school_id).with_for_update()).first()
    if row is None:
        raise NotFound("there is no such calendar")
    session.delete(row)
    chain.record(session, principal, "calendar.drop", _subject(school))


def put_all(session: Session, principal: Principal, calendars: Sequence[Written]) -> dict[str, bool]:
    """Set the calendars of a file, all or none; returns by school whether that changed anything.

    `Invalid` with a pointer (`/0/school`: the first calendar's) for each school that the operator may not set.
    """
    changed: dict[str, bool] = {}
    errors: list[dict[str, str]] = []
    for number, each in enumerate(calendars):
        try:
            changed[each.school] = put(
                session, principal, None if each.school == DISTRICT else each.school, each.document
            )
        except Invalid as wrong:
            errors += [error | {"pointer": f"/{number}{error['pointer']}"} for error in wrong.errors]
        except (Forbidden, NotFound) as wrong:
            where = "" if each.line is None else f"line {each.line}: {each.school}: "
            errors.append({"pointer": f"/{number}/school", "detail": where + wrong.detail})
    if errors:
        raise Invalid("the file has errors; nothing was set", errors=errors)
    return changed


def _may_set(session: Session, principal: Principal, school: str | None) -> int | None:
    principal.must(Action.SET_CALENDARS)
    if school is not None:
        return schools.find_school(session, principal.scope, school).id
    if not principal.scope.all_schools:
        raise Forbidden("the district's calendar holds for every school: an administrator of all schools sets it")
    return None


def _of(school_id: int | None) -> SelectOfScalar[SchoolCalendar]:
    return select(SchoolCalendar).where(col(SchoolCalendar.school_id).is_not_distinct_from(school_id))


def _read(document: object) -> CalendarDocument:
    return CalendarDocument.model_validate(document)


def _subject(school: str | None) -> str:
    return f"calendar:{DISTRICT if school is None else school}"
