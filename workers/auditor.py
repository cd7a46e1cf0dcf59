"""The job of the command auditor: look in a transaction that cannot write, put what is new on record, page."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import text
from sqlmodel import Session

from mdm import clock, db
from mdm.auditor import commands
from mdm.auditor.commands import Finding
from mdm.safeguards import notices

_log = structlog.get_logger(__name__)
_LATELY: Final = timedelta(days=3)
"""What a common look goes back: more than the longest window of a budget, and than ended commands stay hot."""
_NAMED: Final = 20
"""Commands that a page lists."""


def look(*, whole: bool = False) -> list[Finding]:
    """Do one round, of what moved lately or of all that ever left; return what had not been found before."""
    with db.transaction() as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        examined = commands.examine(session, commands.EVER if whole else clock.now() - _LATELY)
    if not examined.findings:
        return []
    with db.transaction() as session:
        fresh = commands.keep(session, examined.findings)
        _page(session, fresh)
    for each in fresh:
        _log.error("command_without_right", command_id=str(each.command_id), kind=each.fault.value)
    return fresh


def _page(session: Session, fresh: Sequence[Finding]) -> None:
    """Page for what has just been put on record: each finding comes here once."""
    if not fresh:
        return
    ids = list(dict.fromkeys(str(each.command_id) for each in fresh))
    details = {"faults": dict(Counter(each.fault.value for each in fresh)), "commands": ids[:_NAMED]}
    notices.page(session, "audit.commands", "Something that cannot be undone left without right: look at once", details)
