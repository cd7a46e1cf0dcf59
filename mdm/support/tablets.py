"""Which tablet a call is about: by control number, serial, holder or class; several make a list to choose from."""

from dataclasses import dataclass

from sqlmodel import Session, col, select

from mdm.auth import Scope
from mdm.devices import search
from mdm.devices.search import Filters, Found
from mdm.errors import Invalid, MdmError, NotFound
from mdm.support.models import Case

MOST_CHOICES = 50


class Ambiguous(MdmError):
    """Several tablets fit; `errors` lists them by control number."""

    status = Invalid.status
    slug = "several-tablets"


@dataclass(frozen=True, slots=True)
class Sought:
    """What the caller can say about the tablet; all that is given must fit."""

    control_number: str | None = None
    serial: str | None = None
    user_id: str | None = None
    school: str | None = None
    year: int | None = None
    class_name: str | None = None

    @property
    def filters(self) -> Filters:
        """The same as filters of the ledger."""
        if not any((self.control_number, self.serial, self.user_id, self.school)):
            detail = "give a control number, a serial, a user id, or a school"
            raise Invalid(detail, errors=[{"pointer": "/control_number", "detail": detail}])
        return Filters(
            control_number=self.control_number,
            serial=self.serial,
            user_id=self.user_id,
            school=self.school,
            year=self.year,
            class_name=self.class_name,
        )


def choices(session: Session, scope: Scope, sought: Sought, *, limit: int = MOST_CHOICES) -> list[Found]:
    """Return the tablets in scope that fit, in the order of their control numbers."""
    return search.find(session, scope, sought.filters, after=None, limit=limit)


def the_one(session: Session, scope: Scope, sought: Sought) -> Found:
    """Return the only tablet that fits; `NotFound` without one, `Ambiguous` with several, which it lists."""
    found = choices(session, scope, sought, limit=MOST_CHOICES)
    if not found:
        raise NotFound("there is no such tablet")
    if len(found) > 1:
        errors = [{"pointer": "/control_number", "detail": each.control_number} for each in found]
        raise Ambiguous("several tablets fit; choose one by its control number", errors=errors)
    return found[0]


def open_cases(session: Session, found: list[Found]) -> dict[str, int]:
    """Return the open case of each of these tablets that has one, by serial."""
    statement = select(Case.serial, Case.id).where(
        col(Case.serial).in_([each.serial for each in found]), col(Case.closed_at).is_(None)
    )
    return {serial: id_ for serial, id_ in session.exec(statement) if id_ is not None}
