"""Where a case stands, and what may be done about it there. Pure: facts in, states and refusals out.

A case of a lost tablet is never further than what the tablet itself has said (B8, 1): its state is worked out from the
commands that were asked for and from what became of them, not set by whoever clicked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mdm.commands.models import CommandState
from mdm.errors import Conflict, MdmError
from mdm.support.kinds import LOSS, CaseKind, Verified


class State(StrEnum):
    """The states of a case."""

    OPENED = "opened"
    SECURING = "securing"
    """A lock is on its way."""
    SECURED = "secured"
    """The tablet has said that it is locked."""
    WIPE_REQUESTED = "wipe_requested"
    """Waits for a second person."""
    WIPE_APPROVED = "wipe_approved"
    """Agreed on; not yet reported done by the tablet."""
    WIPED = "wiped"
    FOUND = "found"
    """It is back; it may still be locked."""
    REPAIRING = "repairing"
    SWAPPED = "swapped"
    """The holder has a spare instead."""
    REMINDED = "reminded"
    CLOSED_FOUND = "closed_found"
    CLOSED_WRITTEN_OFF = "closed_written_off"
    CLOSED_REPAIRED = "closed_repaired"
    CLOSED_RETIRED = "closed_retired"
    CLOSED_RETURNED = "closed_returned"
    CLOSED_MISTAKEN = "closed_mistaken"

    @property
    def closed(self) -> bool:
        """Whether nothing more is done in this state."""
        return self.value.startswith("closed_")


class Act(StrEnum):
    """What the desk can do about a case."""

    MESSAGE = "message"
    """Lock, or show another text."""
    LOCATE = "locate"
    SOUND = "sound"
    WIPE = "wipe"
    SIM = "sim"
    FOUND = "found"
    WRITE_OFF = "write_off"
    SWAP = "swap"
    UNDO_SWAP = "undo_swap"
    SEND_REPAIR = "send_repair"
    REPAIR_BACK = "repair_back"
    REMIND = "remind"
    BECOME_LOST = "become_lost"
    VERIFY = "verify"
    NOTE = "note"
    CLOSE = "close"


class WrongState(Conflict):
    """The case does not stand where this can be done."""

    slug = "case-state"


class CallerUnknown(Conflict):
    """The caller has not been verified yet; what cannot be undone waits for that."""

    slug = "caller-not-verified"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a case, of commands in the tablet's present enrolment only."""

    kind: CaseKind
    verified: Verified = Verified.NOT_YET
    locked: bool = False
    """By the tablet's own word: it is in lost mode, or it has locked its screen and knows no lost mode."""
    lock: CommandState | None = None
    """What became of the latest lock."""
    wipe: CommandState | None = None
    """What became of the latest wipe."""
    wipe_agreed: bool = False
    """A second person has approved the latest wipe."""
    found: bool = False
    swapped: bool = False
    in_repair: bool = False
    reminded: bool = False


_GONE_OUT: Final = frozenset({CommandState.QUEUED, CommandState.SENT, CommandState.DELIVERED, CommandState.NOT_NOW})


def state_of(facts: Facts) -> State:
    """Return where an open case stands."""
    if facts.found:
        return State.FOUND
    if facts.kind in LOSS:
        return _loss_state(facts)
    if facts.kind is CaseKind.BROKEN:
        if facts.in_repair:
            return State.REPAIRING
        return State.SWAPPED if facts.swapped else State.OPENED
    return State.REMINDED if facts.reminded else State.OPENED


def _loss_state(facts: Facts) -> State:
    if facts.wipe is CommandState.DONE:
        return State.WIPED
    if facts.wipe in _GONE_OUT or (facts.wipe is CommandState.HELD and facts.wipe_agreed):
        return State.WIPE_APPROVED
    if facts.wipe is CommandState.HELD:
        return State.WIPE_REQUESTED
    if facts.locked:
        return State.SECURED
    return State.SECURING if facts.lock in _GONE_OUT else State.OPENED


_LOOKED_FOR: Final = frozenset({State.OPENED, State.SECURING, State.SECURED, State.WIPE_REQUESTED, State.WIPE_APPROVED})
_OPEN: Final = frozenset(state for state in State if not state.closed)
_BROKEN: Final = frozenset({State.OPENED, State.SWAPPED, State.REPAIRING})
_LATE: Final = frozenset({State.OPENED, State.REMINDED})
_JUST_BROKEN: Final = frozenset({CaseKind.BROKEN})
_JUST_LATE: Final = frozenset({CaseKind.RETURNED_LATE})
_ALL: Final = frozenset(CaseKind)

ACTS: Final[Mapping[Act, tuple[frozenset[CaseKind], frozenset[State]]]] = {
    Act.MESSAGE: (LOSS, _LOOKED_FOR),
    Act.LOCATE: (LOSS, _LOOKED_FOR),
    Act.SOUND: (LOSS, _LOOKED_FOR),
    Act.WIPE: (LOSS, _LOOKED_FOR),
    Act.SIM: (LOSS, _LOOKED_FOR | {State.WIPED, State.FOUND}),
    Act.FOUND: (LOSS, _LOOKED_FOR | {State.WIPED}),
    Act.WRITE_OFF: (LOSS | _JUST_LATE, _LOOKED_FOR | _LATE | {State.WIPED}),
    Act.SWAP: (_JUST_BROKEN, frozenset({State.OPENED, State.REPAIRING})),
    Act.UNDO_SWAP: (_JUST_BROKEN, frozenset({State.SWAPPED})),
    Act.SEND_REPAIR: (_JUST_BROKEN, frozenset({State.OPENED, State.SWAPPED})),
    Act.REPAIR_BACK: (_JUST_BROKEN, frozenset({State.REPAIRING})),
    Act.REMIND: (_JUST_LATE, _LATE),
    Act.BECOME_LOST: (_JUST_LATE, _LATE),
    Act.VERIFY: (_ALL, _OPEN),
    Act.NOTE: (_ALL, _OPEN),
    Act.CLOSE: (_ALL, _OPEN),
}
"""For which kinds, and in which states, each act makes sense. Every act has its line; a test holds it."""

CLOSINGS: Final[Mapping[State, tuple[frozenset[CaseKind], frozenset[State]]]] = {
    State.CLOSED_FOUND: (LOSS, frozenset({State.FOUND})),
    State.CLOSED_REPAIRED: (_JUST_BROKEN, frozenset({State.OPENED, State.SWAPPED})),
    State.CLOSED_RETIRED: (_JUST_BROKEN, _BROKEN),
    State.CLOSED_RETURNED: (_JUST_LATE, _LATE),
    State.CLOSED_MISTAKEN: (_ALL, frozenset({State.OPENED, State.SECURING, State.SECURED, State.REMINDED})),
    State.CLOSED_WRITTEN_OFF: ACTS[Act.WRITE_OFF],
}
"""Where a case of which kind may end how."""


def refusal(act: Act, facts: Facts, state: State) -> MdmError | None:
    """Say why an act cannot be done now; None if it can."""
    kinds, states = ACTS[act]
    if facts.kind not in kinds:
        return WrongState(f"{act.value} is not for a case of kind {facts.kind.value}")
    if state not in states:
        return WrongState(f"the case is {state.value}; {act.value} cannot be done then")
    if act is Act.WIPE and facts.verified is Verified.NOT_YET:
        return CallerUnknown("verify the caller first: nobody is wiped on a stranger's word")
    return None


def closing_refusal(outcome: State, facts: Facts, state: State) -> MdmError | None:
    """Say why a case cannot end so; None if it can."""
    if outcome not in CLOSINGS:
        return WrongState(f"a case cannot be closed as {outcome.value}")
    kinds, states = CLOSINGS[outcome]
    if facts.kind not in kinds:
        return WrongState(f"a case of kind {facts.kind.value} is not closed as {outcome.value}")
    if state not in states:
        return WrongState(f"the case is {state.value}; it cannot be closed as {outcome.value} from there")
    return None
