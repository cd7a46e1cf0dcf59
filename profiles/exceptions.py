"""Exceptions: a school, class or tablet differs from wider layers in named fields, by two persons' leave, for a time.

It changes what tablets should hold through `targets`; when an exception runs out they fall back by the clock alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.auth import SCOPE_SQL, Action, Principal, Scope
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.safeguards.approvals import SelfApproval
from profiles import places, plans, sealing, targets
from profiles.consequences import Severity, harm_done
from profiles.layers import fields_of
from profiles.models import ExceptionState, PolicyException
from profiles.models import Layer as LayerColumn
from profiles.policy import PolicyDocument, read
from profiles.progress import EVERYWHERE
from profiles.sections import MergeRule

LONGEST = timedelta(days=400)
"""A fiscal year and some weeks; whoever needs it longer asks again, and somebody looks again."""
_SHOWN = f"""
SELECT x.id, x.place, x.document, x.reason, x.state, a.name, x.requested_at, x.expires_at, b.name, x.decided_at,
       x.ended_at
FROM policy_exception x JOIN operator a ON a.id = x.requested_by LEFT JOIN operator b ON b.id = x.decided_by
LEFT JOIN school_class c ON c.id = x.class_id LEFT JOIN device d ON d.id = x.device_id
WHERE {SCOPE_SQL.format(column="coalesce(x.school_id, c.school_id, d.school_id)")}
"""


@dataclass(frozen=True, slots=True)
class ShownException:
    """One exception; secrets are dots."""

    id: UUID
    place: str
    fields: list[str]
    """Pointers to the fields in which the place differs."""
    replacing: dict[str, Any]
    without: dict[str, Any]
    reason: str
    state: ExceptionState
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    ended_at: datetime | None


def request(
    session: Session,
    principal: Principal,
    *,
    place: str,
    replacing: Mapping[str, Any],
    without: Mapping[str, Any],
    reason: str,
    expires_at: datetime,
) -> ShownException:
    """Ask for an exception: `replacing` and `without` are sections as in a policy. It changes nothing until approved.

    Raises Invalid (no reason, no such field, a list that does not add up, too long a time), NotFound (the place).
    """
    principal.must(Action.REQUEST_EXCEPTION)
    layer = places.parse(place)
    at = places.find(session, layer, principal.scope)
    if at.layer is LayerColumn.FLEET:
        raise Invalid("the fleet has a policy, not exceptions", errors=[_error("/place", "name a school or less")])
    _check_words(reason, expires_at)
    parts = {name: _part(name, body, at=place) for name, body in (("set", replacing), ("without", without)) if body}
    if not parts:
        raise Invalid("an exception names the fields it is about", errors=[_error("/set", "nothing is said")])
    row = PolicyException(
        layer=at.layer,
        school_id=at.school_id,
        class_id=at.class_id,
        device_id=at.device_id,
        place=str(layer),
        document={name: sealing.sealed(part) for name, part in parts.items()},
        reason=reason.strip(),
        state=ExceptionState.PENDING,
        requested_by=principal.id,
        requested_at=clock.now(),
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    assert row.id is not None
    shown = show(session, principal, row.id)
    # Not the reason: people write names into it, and the trail is for ever.
    details = {"place": shown.place, "fields": shown.fields, "expires_at": shown.expires_at.isoformat()}
    chain.record(session, principal, "exception.request", f"exception:{row.id}", details)
    return shown


def approve(
    session: Session, principal: Principal, exception_id: UUID, *, overrides: plans.Overrides = plans.NONE
) -> ShownException:
    """Agree as a second person; the place's tablets are told at once.

    Raises Forbidden (a token, not an administrator of all schools), SelfApproval, Conflict (not pending, run out) and
    Harmful (a lint stops what it would make of the tablets, and `overrides` does not name it).
    """
    overrides.checked()
    principal.must(Action.APPROVE_EXCEPTION)
    if not principal.scope.all_schools:
        raise Forbidden("it loosens what the whole district set: an administrator of all schools approves it")
    targets.serialise(session)
    row = _locked(session, principal.scope, exception_id)
    if row.requested_by == principal.id:
        raise SelfApproval("a second person must approve; you asked for this yourself")
    if row.state != ExceptionState.PENDING or row.expires_at <= clock.now():
        raise Conflict("this exception is not waiting for approval")
    device_ids = _members(session, row)
    before = targets.groups(session, device_ids)
    row.state, row.decided_by, row.decided_at = ExceptionState.ACTIVE, principal.id, clock.now()
    session.add(row)
    session.flush()
    found = harm_done(before, targets.groups(session, device_ids), plans.own_host())
    plans.refuse_harm(found, overrides.codes, at=Severity.STOP)
    changed = _tell(session, row)
    if overrides.codes:
        plans.record_overrides(session, principal, f"exception:{exception_id}", overrides)
    chain.record(session, principal, "exception.approve", f"exception:{exception_id}", {"changed": changed})
    return show(session, principal, exception_id)


def end(session: Session, principal: Principal, exception_id: UUID) -> ShownException:
    """Withdraw or decline a request, or end what was approved before its time; tablets fall back at once. Conflict."""
    principal.must(Action.REQUEST_EXCEPTION)
    targets.serialise(session)
    row = _locked(session, principal.scope, exception_id)
    was = ExceptionState(row.state)
    if was not in (ExceptionState.PENDING, ExceptionState.ACTIVE):
        raise Conflict("this exception is over")
    declines = was is ExceptionState.PENDING and row.requested_by != principal.id
    row.state = ExceptionState.DECLINED if declines else ExceptionState.ENDED
    row.ended_at = clock.now()
    if declines:
        row.decided_by, row.decided_at = principal.id, clock.now()
    changed = _tell(session, row) if was is ExceptionState.ACTIVE else 0
    details = {"state": row.state, "changed": changed}
    chain.record(session, principal, "exception.end", f"exception:{exception_id}", details)
    return show(session, principal, exception_id)


def expire(session: Session) -> int:
    """Close the books on what has run out; returns how many. The tablets have fallen back already (`policy_turn`)."""
    rows = session.exec(
        select(PolicyException)
        .where(
            col(PolicyException.state).in_([ExceptionState.PENDING, ExceptionState.ACTIVE]),
            col(PolicyException.expires_at) <= clock.now(),
        )
        .order_by(col(PolicyException.id))
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        row.state, row.ended_at = ExceptionState.EXPIRED, row.expires_at
        session.add(row)
        chain.record(session, "job:upkeep", "exception.expire", f"exception:{row.id}", {"place": row.place})
    session.flush()
    return len(rows)


def show(session: Session, principal: Principal, exception_id: UUID) -> ShownException:
    """Return one exception; NotFound also when its place is outside scope."""
    found = _read(session, principal.scope, "x.id = :id", {"id": exception_id})
    if not found:
        raise NotFound("there is no such exception")
    return found[0]


def by_name(session: Session, name: str) -> ShownException:
    """Return the exception that the merge of layers calls by this name; NotFound."""
    found = _read(session, EVERYWHERE, "x.id = :id", {"id": name.removeprefix("exception ")})
    if not found:
        raise NotFound("there is no such exception")
    return found[0]


def overview(
    session: Session, principal: Principal, *, is_open: bool, limit: int = 50, before: UUID | None = None
) -> list[ShownException]:
    """Return exceptions in scope, newest first: those that wait or hold, or all."""
    condition = "(CAST(:before AS uuid) IS NULL OR x.id < :before)"
    if is_open:
        condition += " AND x.state IN ('pending', 'active') AND x.expires_at > :now"
    values = {"before": before, "now": clock.now(), "limit": limit}
    return _read(session, principal.scope, f"{condition} ORDER BY x.id DESC LIMIT :limit", values)


def _check_words(reason: str, expires_at: datetime) -> None:
    errors = []
    if not reason.strip() or len(reason) > 400:
        errors.append(_error("/reason", "say why, in at most 400 characters; a second person decides on it"))
    if not clock.now() < expires_at <= clock.now() + LONGEST:
        errors.append(_error("/expires_at", f"a moment in the future, at most {LONGEST.days} days away"))
    if errors:
        raise Invalid("the exception has errors", errors=errors)


def _part(name: str, body: Mapping[str, Any], *, at: str) -> PolicyDocument:
    """Check one half of an exception as a policy is checked."""
    kind, _, key = at.partition("=")
    document = read({"version": 1, "name": "exception", "layer": {kind: key}, **body}, at=f"/{name}")
    if name == "without":
        errors = [
            _error(f"/without{place}", "only a list that adds up over layers can lose entries; write this under `set`")
            for place, (rule, _) in fields_of(document.sections()).items()
            if rule is not MergeRule.UNION
        ]
        if errors:
            raise Invalid("the exception has errors", errors=errors)
    return document


def _error(pointer: str, detail: str) -> dict[str, str]:
    return {"pointer": pointer, "detail": detail}


def _locked(session: Session, scope: Scope, exception_id: UUID) -> PolicyException:
    if not _read(session, scope, "x.id = :id", {"id": exception_id}):
        raise NotFound("there is no such exception")
    statement = select(PolicyException).where(PolicyException.id == exception_id)
    return session.exec(statement.with_for_update().execution_options(populate_existing=True)).one()


def _tell(session: Session, row: PolicyException) -> int:
    """Recompute what the place's tablets should hold; returns how many change."""
    session.add(row)
    session.flush()
    device_ids = _members(session, row)
    return targets.retarget(session, device_ids) if device_ids else 0


def _members(session: Session, row: PolicyException) -> list[int]:
    at = places.Place(LayerColumn(row.layer), row.school_id, row.class_id, row.device_id)
    return places.members(session, at, scope=EVERYWHERE)


def _read(session: Session, scope: Scope, condition: str, values: Mapping[str, object]) -> list[ShownException]:
    rows: Sequence[Any] = session.execute(
        text(f"{_SHOWN} AND {condition}"), {"schools": scope.parameter, **values}
    ).all()
    return [_shown(*row) for row in rows]


def _shown(exception_id: UUID, place: str, document: Mapping[str, Any], reason: str, state: str, *rest: Any) -> Any:
    requested_by, requested_at, expires_at, decided_by, decided_at, ended_at = rest
    halves = {name: sealing.hidden(_sections(document.get(name))) for name in ("set", "without")}
    over = state in (ExceptionState.PENDING, ExceptionState.ACTIVE) and expires_at <= clock.now()
    return ShownException(
        id=exception_id,
        place=place,
        fields=sorted({f"/{part}/{name}" for half in halves.values() for part in half for name in half[part]}),
        replacing=halves["set"],
        without=halves["without"],
        reason=reason,
        state=ExceptionState.EXPIRED if over else ExceptionState(state),
        requested_by=requested_by,
        requested_at=requested_at,
        expires_at=expires_at,
        decided_by=decided_by,
        decided_at=decided_at,
        ended_at=ended_at,
    )


def _sections(stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """Only the sections of a half, without the version, name and layer it is stored with."""
    about = ("version", "name", "layer", "description")
    return {name: part for name, part in (stored or {}).items() if name not in about}
