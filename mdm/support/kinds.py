"""The words of the support desk: kinds of cases, who called, how the caller was verified. Words only, no rules."""

from enum import StrEnum
from typing import Final

from mdm.auth.rights import Action


class CaseKind(StrEnum):
    """What a case is about."""

    LOST = "lost"
    STOLEN = "stolen"
    BROKEN = "broken"
    RETURNED_LATE = "returned_late"


LOSS: Final = frozenset({CaseKind.LOST, CaseKind.STOLEN})
"""The tablet is out of our hands: it is locked at once."""

RIGHT: Final = {
    CaseKind.LOST: Action.WORK_LOSS,
    CaseKind.STOLEN: Action.WORK_LOSS,
    CaseKind.RETURNED_LATE: Action.WORK_LOSS,
    CaseKind.BROKEN: Action.WORK_REPAIR,
}
"""What it takes to work on a case of each kind: duties are apart (R-41, R-42)."""


class Caller(StrEnum):
    """Who called, by relation only: no name is written down."""

    PUPIL = "pupil"
    GUARDIAN = "guardian"
    TEACHER = "teacher"
    BOARD = "board"
    POLICE = "police"
    FINDER = "finder"
    DESK = "desk"
    """Nobody called: the desk found it out itself."""


class Verified(StrEnum):
    """How the caller was verified."""

    NOT_YET = "not_yet"
    CALL_BACK = "call_back"
    """Called back at the number that the school has on record."""
    LEDGER_ITEMS = "ledger_items"
    """Answered questions about items that stand in the ledger."""
    IN_PERSON = "in_person"
    THROUGH_SCHOOL = "through_school"
    """The school's own staff vouched for it."""


class Purpose(StrEnum):
    """What a case asks a command for."""

    LOCK = "lock"
    UNLOCK = "unlock"
    LOCATE = "locate"
    SOUND = "sound"
    WIPE = "wipe"
