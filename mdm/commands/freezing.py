"""Freeze class A: open the breaker and pull back what was let go but no tablet has been handed. Thawing is `breaker`'s.

What is pulled back is `held` again with its approval; the sender lets it go anew once the breaker is closed.
"""

from sqlmodel import Session, col

from mdm.auth import Action, Principal
from mdm.auth.rights import Safety
from mdm.commands import transitions
from mdm.commands.kinds import FACTS
from mdm.commands.models import Command, CommandState
from mdm.errors import Attempt
from mdm.safeguards import breaker

_HARMLESS = tuple(kind.value for kind, facts in FACTS.items() if facts.safety is not Safety.A)
"""A kind that this version does not know is class A."""
_ON_ITS_WAY = (CommandState.QUEUED.value, CommandState.SENT.value, CommandState.NOT_NOW.value)


def freeze(session: Session, actor: Principal | str, pattern: str) -> bool:
    """Open the breaker and pull back what is on its way; False when it was open already.

    A tablet that is being handed its wipe in this very moment keeps it: nobody can take that back.
    """
    if not breaker.open_(session, actor, pattern):
        return False
    transitions.move(
        session,
        CommandState.HELD,
        col(Command.kind).not_in(_HARMLESS),
        col(Command.state).in_(_ON_ITS_WAY),
        note="frozen",
    )
    return True


def press(session: Session, principal: Principal) -> breaker.Standing:
    """The red button: any administrator freezes, alone and at once; pressing twice is harmless."""
    principal.must(Action.FREEZE)
    freeze(session, principal, breaker.BY_HAND)
    return breaker.standing(session)


def note_attempt(session: Session, attempt: Attempt) -> None:
    """Count a refused attempt at class A and freeze when there are too many, or when one is enough.

    In a transaction of its own: the one that was refused is rolled back, and the count must stay.
    """
    pattern = breaker.note_refusal(session, attempt)
    if pattern is not None:
        freeze(session, "job:breaker", pattern)
