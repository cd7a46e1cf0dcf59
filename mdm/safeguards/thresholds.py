"""The thresholds that hold: read them, tighten them alone, loosen them by two. Applies none of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.auth import Principal
from mdm.auth.entitlement import is_entitled
from mdm.auth.models import Operator
from mdm.auth.rights import Action
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.safeguards import proven, seasoned
from mdm.safeguards.approvals import Consent, SelfApproval
from mdm.safeguards.threshold_models import RequestState, SafeguardThreshold, ThresholdRequest
from mdm.safeguards.threshold_values import FACTS, Name, check, loosens


@dataclass(frozen=True, slots=True)
class Line:
    """A threshold as it is shown; `set_at` None says that nobody has set it and its first value holds."""

    id: int
    name: str
    value: int
    set_at: datetime | None
    set_by: str
    approved_by: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to loosen a threshold, with the names of those who had a part in it, and what is signed of it."""

    id: UUID
    name: str
    value: int
    before: int
    reason: str
    state: RequestState
    requested_by: str
    requested_by_id: int
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    action: str
    subject: Mapping[str, object]


_NEWEST: Final = (
    "SELECT DISTINCT ON (name) id, name, value, set_at, set_by, approved_by, reason FROM safeguard_threshold"
    " WHERE name = ANY(CAST(:names AS text[])) ORDER BY name, id DESC"
)
_KNOWN: Final = {"names": [name.value for name in Name]}
"""A newer version may know more names."""


def current(session: Session) -> Mapping[Name, int]:
    """Return every threshold as it holds now, by one query."""
    return {Name(line.name): line.value for line in overview(session)}


def overview(session: Session) -> list[Line]:
    """Return every threshold as it holds now, in the order of `Name`."""
    found = {row.name: Line(*row) for row in session.execute(text(_NEWEST), _KNOWN)}
    return [found.get(name, Line(0, name.value, fact.first, None, "", None, "")) for name, fact in FACTS.items()]


def history(session: Session, name: Name, *, before: int | None, limit: int) -> list[Line]:
    """Return the settings of one threshold, newest first."""
    statement = select(SafeguardThreshold).where(SafeguardThreshold.name == name.value)
    if before is not None:
        statement = statement.where(col(SafeguardThreshold.id) < before)
    rows = session.exec(statement.order_by(col(SafeguardThreshold.id).desc()).limit(limit))
    return [_line(row) for row in rows]


def set_threshold(
    session: Session, principal: Principal, name: Name, value: int, *, reason: str = ""
) -> tuple[Line, Asked | None]:
    """Tighten a threshold at once, or ask a second administrator to loosen it; return what holds, and the request.

    Raises `Forbidden` for other than administrators of all schools and for tokens that would loosen, `Invalid` for a
    value out of bounds or a loosening without a reason.
    """
    principal.must(Action.TIGHTEN)
    _must_see_all(principal)
    check(name, value)
    _stand_in_line(session, name)
    held = _held(session, name)
    if loosens(name, held.value, value):
        return held, _ask(session, principal, name, before=held.value, value=value, reason=reason)
    row = SafeguardThreshold(
        name=name.value,
        value=value,
        set_at=clock.now(),
        set_by=principal.actor[:80],
        reason=reason.strip()[:400],
    )
    session.add(row)
    session.flush()
    # Not the reason: people write names into it, and the trail is for ever.
    details = {"value": value, "before": held.value}
    chain.record(session, principal, "safeguard.tighten", f"threshold:{name.value}", details)
    return _line(row), None


def _ask(session: Session, principal: Principal, name: Name, *, before: int, value: int, reason: str) -> Asked:
    principal.must(Action.LOOSEN)
    if not reason.strip():
        detail = "say why; a second administrator decides on it"
        raise Invalid("loosening a safeguard needs a reason", errors=[{"pointer": "/reason", "detail": detail}])
    request = ThresholdRequest(
        name=name.value,
        value=value,
        before=before,
        reason=reason.strip()[:400],
        requested_by=principal.id,
        requested_at=clock.now(),
        expires_at=clock.now() + proven.LIFETIME,
    )
    session.add(request)
    session.flush()
    session.refresh(request)
    details = {"value": value, "before": before, "request": request.id}
    chain.record(session, principal, "safeguard.ask", f"threshold:{name.value}", details)
    return _asked(session, request)


def approve(session: Session, principal: Principal, request_id: UUID, consent: Consent) -> Asked:
    """Loosen a threshold as a second administrator, whose account must not be a fresh one, and who signs it.

    Raises `SelfApproval`, `Forbidden`, `NotFound`, `NotPinned`, `NotProved`, and `Conflict` when it is decided, has run
    out, the threshold has been set since, or whoever asked may no longer sign in.
    """
    principal.must(Action.LOOSEN)
    _must_see_all(principal)
    request = _pending(session, request_id)
    name = Name(request.name)
    if request.requested_by == principal.id:
        raise SelfApproval("a second administrator must approve; you asked for this yourself")
    seasoned.must_be(session, principal.id, current(session), what="loosen a safeguard")
    if not is_entitled(session, request.requested_by):
        raise Conflict("whoever asked for this may no longer sign in; let somebody else ask again")
    _stand_in_line(session, name)
    if _held(session, name).value != request.before:
        raise Conflict("this threshold has been set since; ask again")
    digest = proven.digest_to_loosen(request)
    proven.take(session, principal, digest, consent)
    request.key_id, request.signature = consent.key_id, consent.signature.stored()
    details = {"value": request.value, "before": request.before, "requested_by": request.requested_by}
    details |= {"key": consent.key_id}
    decided = _decide(session, principal, request, RequestState.APPROVED, action=proven.LOOSEN, details=details)
    row = SafeguardThreshold(
        name=request.name,
        value=request.value,
        set_at=clock.now(),
        set_by=f"operator:{decided.requested_by}"[:80],
        approved_by=principal.actor[:80],
        request_id=request.id,
        reason=request.reason,
    )
    session.add(row)  # after the decision, which the database looks for
    session.flush()
    return decided


def reject(session: Session, principal: Principal, request_id: UUID) -> Asked:
    """Refuse somebody else's request, or withdraw one's own."""
    principal.must(Action.TIGHTEN)
    _must_see_all(principal)
    request = _pending(session, request_id)
    own = request.requested_by == principal.id
    state = RequestState.WITHDRAWN if own else RequestState.REJECTED
    action = "safeguard.withdraw" if own else "safeguard.reject"
    return _decide(session, principal, request, state, action=action, details={})


def requests(session: Session, *, before: UUID | None, limit: int) -> list[Asked]:
    """Return the requests, newest first (ids are in the order of time)."""
    statement = select(ThresholdRequest)
    if before is not None:
        statement = statement.where(col(ThresholdRequest.id) < before)
    found = session.exec(statement.order_by(col(ThresholdRequest.id).desc()).limit(limit))
    return [_asked(session, each) for each in found]


def _pending(session: Session, request_id: UUID) -> ThresholdRequest:
    request = session.get(ThresholdRequest, request_id, with_for_update=True, populate_existing=True)
    if request is None:
        raise NotFound("there is no such request")
    if request.state != RequestState.PENDING:
        raise Conflict(f"this request is decided already: {RequestState(request.state).value}")
    if request.expires_at <= clock.now():
        raise Conflict("this request has run out; ask again")
    return request


def _decide(
    session: Session,
    principal: Principal,
    request: ThresholdRequest,
    state: RequestState,
    *,
    action: str,
    details: Mapping[str, object],
) -> Asked:
    request.state = state
    request.decided_by = principal.id
    request.decided_at = clock.now()
    session.add(request)
    session.flush()
    chain.record(session, principal, action, f"threshold:{request.name}", {**details, "request": request.id})
    return _asked(session, request)


def _stand_in_line(session: Session, name: Name) -> None:
    """Keep two settings of one threshold apart, or one could be measured against what no longer holds."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"threshold:{name}"})


def _held(session: Session, name: Name) -> Line:
    return next(line for line in overview(session) if line.name == name)


def _must_see_all(principal: Principal) -> None:
    if not principal.scope.all_schools:
        raise Forbidden("safeguards are everybody's: this takes an administrator of all schools")


def _line(row: SafeguardThreshold) -> Line:
    return Line(row.id or 0, row.name, row.value, row.set_at, row.set_by, row.approved_by, row.reason)


def _asked(session: Session, request: ThresholdRequest) -> Asked:
    assert request.id is not None
    names = [session.get_one(Operator, each).name for each in (request.requested_by, request.decided_by) if each]
    return Asked(
        id=request.id,
        name=request.name,
        value=request.value,
        before=request.before,
        reason=request.reason,
        state=RequestState(request.state),
        requested_by=names[0],
        requested_by_id=request.requested_by,
        requested_at=request.requested_at,
        expires_at=request.expires_at,
        decided_by=names[1] if len(names) > 1 else None,
        action=proven.LOOSEN,
        subject=proven.wish_to_loosen(request),
    )
