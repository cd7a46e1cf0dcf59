"""Holders of tablets: their names sealed, written many at once, opened one at a time (R-26). Deletes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from mdm import vault
from mdm.errors import NotFound

_PURPOSE = "holder.name"
MASK = "***"
"""What stands for a name wherever nobody has asked for it by an audited read."""


@dataclass(frozen=True, slots=True)
class Person:
    """A holder as the ledger file describes it: exactly the items of R-26 but the control number."""

    user_id: str
    school_code: str
    year: int | None
    class_name: str | None
    name: str

    def __repr__(self) -> str:
        """Leave the name out: a value that ends in a log or a traceback must not carry it."""
        return f"Person(user_id={self.user_id!r}, school_code={self.school_code!r})"


@dataclass(frozen=True, slots=True)
class SealedPerson:
    """A holder as the table has it, the name still sealed."""

    user_id: str
    school_code: str
    year: int | None
    class_name: str | None
    name_sealed: bytes

    def opened(self, *, with_name: bool) -> Person:
        """Return the same person with the name opened, or empty when it is not needed."""
        name = vault.unseal(_PURPOSE, self.name_sealed).decode() if with_name else ""
        return Person(self.user_id, self.school_code, self.year, self.class_name, name)


def sealed_people(session: Session) -> dict[str, SealedPerson]:
    """Return every holder by user id, names sealed."""
    statement = text(
        "SELECT h.user_id, s.code, c.year, c.name, h.name_sealed FROM holder h"
        " JOIN school s ON s.id = h.school_id LEFT JOIN school_class c ON c.id = h.class_id"
    )
    return {
        row[0]: SealedPerson(row[0], row[1], row[2], row[3], bytes(row[4])) for row in session.execute(statement).all()
    }


def write_people(session: Session, people: Sequence[Person]) -> None:
    """Add or change holders, sealing their names; their schools and classes must exist."""
    if not people:
        return
    session.execute(
        text(
            "INSERT INTO holder (user_id, school_id, class_id, name_sealed)"
            " SELECT w.user_id, s.id, c.id, w.name_sealed"
            " FROM unnest(CAST(:users AS text[]), CAST(:codes AS text[]), CAST(:years AS smallint[]),"
            " CAST(:classes AS text[]), CAST(:names AS bytea[])) AS w (user_id, code, year, class, name_sealed)"
            " JOIN school s ON s.code = w.code"
            " LEFT JOIN school_class c ON c.school_id = s.id AND c.year = w.year AND c.name = w.class"
            " ON CONFLICT (user_id) DO UPDATE SET school_id = excluded.school_id, class_id = excluded.class_id,"
            " name_sealed = excluded.name_sealed"
        ),
        {
            "users": [person.user_id for person in people],
            "codes": [person.school_code for person in people],
            "years": [person.year for person in people],
            "classes": [person.class_name for person in people],
            "names": [vault.seal(_PURPOSE, person.name.encode()) for person in people],
        },
    )


def open_name(session: Session, holder_id: int) -> str:
    """Return a holder's name in clear; whoever calls this records the read (R-26). `NotFound` without such a holder."""
    sealed = session.execute(text("SELECT name_sealed FROM holder WHERE id = :id"), {"id": holder_id}).scalar()
    if sealed is None:
        raise NotFound("there is no such holder")
    return vault.unseal(_PURPOSE, bytes(sealed)).decode()
