"""Schools and classes: find them within a scope, and write many at once. Deletes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from mdm.auth.principal import SCOPE_SQL, Scope
from mdm.errors import NotFound


@dataclass(frozen=True, slots=True)
class SchoolLine:
    """A school as a list shows it, with the number of its tablets."""

    id: int
    code: str
    name: str
    tablets: int


@dataclass(frozen=True, slots=True)
class ClassLine:
    """A class as a list shows it, with the number of its holders."""

    id: int
    year: int
    name: str
    holders: int


def list_schools(session: Session, scope: Scope, *, after: str = "", limit: int = 100) -> list[SchoolLine]:
    """Return the schools in scope in the order of their codes, those after `after` only."""
    statement = text(
        "SELECT s.id, s.code, s.name, (SELECT count(*) FROM device d WHERE d.school_id = s.id) AS tablets"
        f" FROM school s WHERE {SCOPE_SQL.format(column='s.id')} AND s.code > :after ORDER BY s.code LIMIT :limit"
    )
    parameters = {"schools": scope.parameter, "after": after, "limit": limit}
    return [SchoolLine(*row) for row in session.execute(statement, parameters)]


def find_school(session: Session, scope: Scope, code: str) -> SchoolLine:
    """Return one school by its code; `NotFound` outside the scope."""
    statement = text(
        "SELECT s.id, s.code, s.name, (SELECT count(*) FROM device d WHERE d.school_id = s.id) AS tablets"
        f" FROM school s WHERE {SCOPE_SQL.format(column='s.id')} AND s.code = :code"
    )
    row = session.execute(statement, {"schools": scope.parameter, "code": code}).first()
    if row is None:
        raise NotFound("there is no such school")
    return SchoolLine(*row)


def list_classes(session: Session, scope: Scope, code: str) -> list[ClassLine]:
    """Return the classes of one school by year and name; `NotFound` when the school is outside the scope."""
    school = find_school(session, scope, code)
    statement = text(
        "SELECT c.id, c.year, c.name, (SELECT count(*) FROM holder h WHERE h.class_id = c.id) AS holders"
        " FROM school_class c WHERE c.school_id = :school ORDER BY c.year, c.name"
    )
    return [ClassLine(*row) for row in session.execute(statement, {"school": school.id})]


def codes_and_names(session: Session) -> dict[str, tuple[int, str]]:
    """Return every school's id and name by its code (a district has some tens)."""
    return {code: (id_, name) for id_, code, name in session.execute(text("SELECT id, code, name FROM school"))}


def write_schools(session: Session, names: Mapping[str, str]) -> None:
    """Add or rename schools, given as name by code."""
    if names:
        session.execute(
            text(
                "INSERT INTO school (code, name) SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:names AS text[]))"
                " ON CONFLICT (code) DO UPDATE SET name = excluded.name"
            ),
            {"codes": list(names), "names": list(names.values())},
        )


def write_classes(session: Session, classes: Iterable[tuple[str, int, str]]) -> None:
    """Add the classes that are not there yet, given as (school code, year, name)."""
    wanted = sorted(set(classes))
    if wanted:
        session.execute(
            text(
                "INSERT INTO school_class (school_id, year, name) SELECT s.id, w.year, w.name"
                " FROM unnest(CAST(:codes AS text[]), CAST(:years AS smallint[]), CAST(:names AS text[]))"
                " AS w (code, year, name) JOIN school s ON s.code = w.code"
                " ON CONFLICT (school_id, year, name) DO NOTHING"
            ),
            {
                "codes": [code for code, _, _ in wanted],
                "years": [year for _, year, _ in wanted],
                "names": [name for _, _, name in wanted],
            },
        )
