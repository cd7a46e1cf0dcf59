"""Ask things of a case's tablet, through the one queue that everybody goes through, and remember which case asked.

Decides nothing about wipes: class A is held there until a second person agrees.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from mdm.auth import Principal
from mdm.commands import queue
from mdm.commands.arguments import check_arguments
from mdm.commands.decisions import Wish
from mdm.commands.kinds import Kind
from mdm.commands.models import Command
from mdm.devices.models import Enrollment
from mdm.errors import Conflict, Invalid, MdmError
from mdm.support import desk_settings, timeline
from mdm.support.kinds import Purpose
from mdm.support.models import Case, CaseCommand


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a wish: a command in line, or why there is none."""

    command: Command | None = None
    refusal: MdmError | None = None

    def must(self) -> Command:
        """Return the command, or raise what it was refused for."""
        if self.refusal is not None:
            raise self.refusal
        assert self.command is not None
        return self.command


def ask(
    session: Session,
    who: Principal | str,
    case: Case,
    wish: Kind | Wish,
    purpose: Purpose,
    *,
    arguments: Mapping[str, Any] | None = None,
    reason: str = "",
) -> Answer:
    """Put one wish in line for the case's tablet and note it. A refusal is an answer, and leaves nothing behind."""
    assert case.id is not None
    if case.device_id is None:
        return _refused(session, who, case, purpose, Conflict("the tablet's record is gone; nothing can reach it"))
    try:
        with session.begin_nested():
            [outcome] = queue.enqueue(session, who, [case.device_id], wish, arguments or {}, reason=reason)
    except Conflict as refusal:  # a spent budget, a frozen class: the case goes on and says so
        return _refused(session, who, case, purpose, refusal)
    if outcome.refusal is not None or outcome.command is None:
        return _refused(session, who, case, purpose, outcome.refusal or Conflict("it was not put in line"))
    command = outcome.command
    row = {"case_id": case.id, "command_id": command.id, "purpose": purpose.value}
    session.execute(insert(CaseCommand).values(row).on_conflict_do_nothing())
    details = {"command": str(command.id), "kind": command.kind, "fresh": outcome.fresh}
    timeline.note(session, who, case.id, purpose.value, details)
    return Answer(command)


def _refused(session: Session, who: Principal | str, case: Case, purpose: Purpose, refusal: MdmError) -> Answer:
    assert case.id is not None
    what, details = f"{purpose.value}_refused", {"problem": refusal.slug}
    last = timeline.last(session, case.id)
    if last is None or (last.what, last.details) != (what, details):
        timeline.note(session, who, case.id, what, details)
    return Answer(refusal=refusal)


def lock(session: Session, who: Principal | str, case: Case, given: Mapping[str, Any]) -> Answer:
    """Lock the tablet with a text: lost mode where it can be, else its screen. `Invalid` for a text that cannot be."""
    shown = desk_settings.lost_text(session, case.school_id) | {
        name: value for name, value in (case.text_shown | dict(given)).items() if value is not None
    }
    case.text_shown = _checked(shown)
    case.wants_lock = True
    session.add(case)
    supervised = session.exec(select(Enrollment.supervised).where(col(Enrollment.device_id) == case.device_id)).first()
    # A lock screen has no line for a footnote.
    arguments = {
        name: value for name, value in case.text_shown.items() if supervised is not False or name != "footnote"
    }
    return ask(session, who, case, Wish.LOCK, Purpose.LOCK, arguments=arguments)


def _checked(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Check the text before anything is asked; the pointers are those of the request's body."""
    try:
        return check_arguments(Kind.LOST_MODE_ON, shown)
    except Invalid as wrong:
        errors = [each | {"pointer": each["pointer"].removeprefix("/arguments")} for each in wrong.errors]
        raise Invalid("the text for the tablet is wrong", errors=errors) from None
