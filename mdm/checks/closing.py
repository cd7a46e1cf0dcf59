"""Closes a check: takes what spoke at the last moment, then freezes the report and signs it off with a digest."""

import hashlib
import json
from datetime import UTC
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.audit import chain
from mdm.auth.principal import Principal, Scope
from mdm.auth.rights import Action
from mdm.checks import counts, evidence, lists, plans
from mdm.checks.lists import Filters, Status, TaskLine
from mdm.checks.models import CheckState, WhereaboutsCheck
from mdm.checks.sought import STANDS

_EVERYTHING: Final = Scope(all_schools=True)
_FREEZE: Final = (
    f"UPDATE check_task t SET closed_state = {STANDS}, closed_seen_at = e.last_seen_at"
    " FROM device d LEFT JOIN enrollment e ON e.device_id = d.id WHERE t.check_id = :id AND d.id = t.device_id"
)


def close(session: Session, principal: Principal, check_id: UUID) -> WhereaboutsCheck:
    """Close a running check: no evidence is taken from now on, and its report stays as it is.

    Raises `NotFound` out of scope, `Forbidden` when it is about more schools than one's own, `Conflict` unless it runs.
    """
    principal.must(Action.RUN_CHECKS)
    check = plans.find(session, principal.scope, check_id, locked="update")
    plans.must_reach(session, principal, check)
    plans.must_be(check, CheckState.RUNNING)
    while evidence.take_checkins(session, only=check_id) == evidence.AT_ONCE:
        pass
    session.execute(text(_FREEZE), {"id": check_id})
    check.state = CheckState.CLOSED
    check.closed_at, check.closed_by = clock.now(), principal.actor[:80]
    check.report_digest = digest(session, check_id)
    session.add(check)
    found = counts.total(session, _EVERYTHING, check_id)
    details = {"listed": found.listed, "verified": found.verified, "unverified": found.unverified}
    chain.record(
        session, principal, "check.close", f"check:{check_id}", details | {"digest": check.report_digest.hex()}
    )
    return check


def digest(session: Session, check_id: UUID) -> bytes:
    """Return SHA-256 over the report of the unverified, all schools and without holders, line by line in JSON."""
    hashed = hashlib.sha256()
    for line in lists.each(session, _EVERYTHING, check_id, Filters(status=Status.UNVERIFIED), holders=False):
        hashed.update(json.dumps(_canonical(line), separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
    return hashed.digest()


def _canonical(line: TaskLine) -> list[Any]:
    contact = None if line.last_contact is None else line.last_contact.astimezone(UTC).isoformat()
    return [line.control_number, line.school_code, line.year, line.class_name, line.state, line.state_now, contact]
