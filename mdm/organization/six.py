"""What contractors are shown of people: six items, and nothing of the tablet that would become a seventh (R-26).

School, year, class, name, user id and the tablet's control number are all that may be handled outside the board. The
numbers of a tablet's radio and SIM are data of the tablet as long as no person stands beside them; beside one they
would be an item more. So a contractor sees either the person or those numbers, by its duty. A name is masked in both,
and opened one at a time, on record. A test holds the table of holders and every answer to a contractor to that list.
"""

from enum import StrEnum

from mdm.auth import Action, Principal
from mdm.auth.entitlement import BOARD
from mdm.errors import Forbidden


class View(StrEnum):
    """What somebody is shown of a tablet that a person holds."""

    WHOLE = "whole"
    """The board: both."""
    PERSON = "person"
    """Who verifies a caller: the six items and the tablet, without the numbers of radio and SIM."""
    TABLET = "tablet"
    """Who repairs and operates: the tablet with its numbers, and nobody beside it."""


def view_of(principal: Principal) -> View:
    """Return what this principal is shown."""
    if principal.tier == BOARD:
        return View.WHOLE
    return View.PERSON if principal.may(Action.READ_NAME) else View.TABLET


def must_not_seek(view: View, *, by_person: bool, by_number: bool) -> None:
    """Refuse a search by what the view does not show: its answer would tell that all the same."""
    if view is View.TABLET and by_person:
        raise Forbidden("this duty sees no people, and looks for no tablet by them")
    if view is View.PERSON and by_number:
        raise Forbidden("this duty sees people, and looks for no tablet by the numbers of its radio or SIM")
