"""Takes up files of usage and bills from the drop folder: a transaction for each, then the file is put away.

Killed between the two, it finds the file again, knows it, and puts it away. Asks no carrier anything.
"""

import time
from collections import Counter
from typing import Final

import structlog

from mdm import db
from mdm.cellular.usage import folder
from mdm.cellular.usage.folder import Found, Result
from mdm.errors import Conflict, MdmError, NotFound
from mdm.settings import get_settings

_log = structlog.get_logger(__name__)
_BUDGET_S: Final = 20.0
"""No further file is begun after this; the next round takes up the rest."""


def take_up(*, budget_s: float = _BUDGET_S) -> Counter[str]:
    """Do one round and return how many files went which way."""
    settings = get_settings().usage
    done: Counter[str] = Counter()
    if settings.drop_folder is None:
        return done
    try:
        files = folder.waiting(settings.drop_folder, still_s=settings.drop_still_s)
    except OSError as error:
        _log.error("drop_folder_unreadable", error=type(error).__name__)
        return done
    until = time.monotonic() + budget_s
    for found in files:
        if time.monotonic() > until:
            break
        done[_take(found)] += 1
    if done.total():
        _log.info("usage_files", counts=dict(done))
    return done


def _take(found: Found) -> str:
    try:
        with db.transaction() as session:
            if not folder.only_one(session):
                return "left"
            result = folder.take(session, found)
    except (Conflict, NotFound, FileNotFoundError) as error:
        # Still being written, no such account (yet), or taken up by somebody else.
        _log.warning("usage_file_left", account=found.account, error=type(error).__name__)
        return "left"
    except MdmError as error:
        lines = [error.detail, *(f"{each.get('pointer', '')}: {each.get('detail', '')}" for each in error.errors), ""]
        result = Result(good=False, report="\n".join(lines))
    except OSError as error:
        _log.error("usage_file_unreadable", account=found.account, error=type(error).__name__)
        return "left"
    try:
        folder.put_away(found, result)
    except OSError as error:  # read already, and known by its bytes: the next round only puts it away
        _log.error("usage_file_stuck", account=found.account, error=type(error).__name__)
        return "left"
    return "done" if result.good else "failed"
