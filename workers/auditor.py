"""The job of the command auditor: look in a transaction that cannot write, put what is new on record, page."""

from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import text

from mdm import clock, db
from mdm.auditor import commands
from mdm.auditor.commands import Finding

_log = structlog.get_logger(__name__)
_LATELY: Final = timedelta(days=3)
"""What a common look goes back: more than the longest window of a budget, and than ended commands stay hot."""


def look(*, whole: bool = False) -> list[Finding]:
    """Do one round, of what moved lately or of all that ever left; return what had not been found before."""
    with db.transaction() as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        examined = commands.examine(session, commands.EVER if whole else clock.now() - _LATELY)
    if not examined.findings:
        return []
    with db.transaction() as session:
        fresh = commands.keep(session, examined.findings)
    for each in fresh:
        _log.error("command_without_right", command_id=str(each.command_id), kind=each.fault.value)
    return fresh
