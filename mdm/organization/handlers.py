"""The register of handlers (取扱責任者, 取扱者) of contractors, and the reports that are due of its changes (R-57).

Names are sealed and opened one by one or for a report, never in a list; whoever opens them puts it on record.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from mdm import clock, vault
from mdm.audit import chain
from mdm.auth import Principal, Role
from mdm.auth.entitlement import first_moment
from mdm.auth.models import Operator
from mdm.errors import Conflict, Invalid, NotFound
from mdm.organization import contractors
from mdm.organization.models import Handler, HandlerChange, HandlerKind, Organization, Tier

_PURPOSE: Final = "handler.name"


@dataclass(frozen=True, slots=True)
class Notice:
    """When somebody was told of its duties and the penalties and gave its pledge, and where that is filed (R-52)."""

    document: str
    on: date


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the report of changed handlers."""

    at: datetime
    organization: str
    tier: Tier
    reports_to: str
    """To whom the change is reported: 乙 reports to 甲, 丙 to 甲 and to its 乙."""
    kind: HandlerKind
    label: str
    name: str
    what: str
    before: dict[str, Any] | None
    after: dict[str, Any]


def of_organization(session: Session, organization_id: int) -> list[tuple[Handler, list[str]]]:
    """Return the handlers of an organization, each with the names of its accounts; the responsible ones first."""
    statement = (
        select(Handler)
        .where(Handler.organization_id == organization_id)
        .order_by(col(Handler.kind).desc(), col(Handler.label))
    )
    rows = list(session.exec(statement))
    accounts = session.exec(
        select(Operator.handler_id, Operator.name)
        .where(Operator.organization_id == organization_id)
        .order_by(col(Operator.name))
    ).all()
    return [(row, [name for handler_id, name in accounts if handler_id == row.id]) for row in rows]


def find(session: Session, principal: Principal, organization_id: int, handler_id: int) -> Handler:
    """Return one handler of an organization that the principal may know of, or raise `NotFound`."""
    contractors.find(session, principal, organization_id)
    row = session.exec(
        select(Handler).where(Handler.id == handler_id, Handler.organization_id == organization_id)
    ).first()
    if row is None:
        raise NotFound("there is no such handler")
    return row


def register(
    session: Session,
    principal: Principal,
    organization_id: int,
    *,
    kind: HandlerKind,
    label: str,
    name: str,
    duties: Collection[Role],
    valid_from: date,
    valid_until: date | None = None,
    notice: Notice | None = None,
) -> Handler:
    """Enter a handler in the register. `label` is how the organization knows the person; the name is sealed.

    Raises `Invalid` for duties that cannot be entrusted, and for a sub-contractor's without notice; `Conflict` for the
    board, whose own people need no registration, and for a label there is.
    """
    contractors.must_manage(principal)
    organization = contractors.find(session, principal, organization_id)
    if organization.tier == Tier.BOARD:
        raise Conflict("the board's own people are not entered here")
    if organization.tier == Tier.SUBCONTRACTOR and notice is None:
        raise _wrong("/notice", "a sub-contractor's staff is told of duties and penalties first: when, and where filed")
    contractors.check_duties(duties)
    _check_period(valid_from, valid_until)
    row = Handler(
        organization_id=organization_id,
        kind=kind,
        label=label.strip(),
        name_sealed=vault.seal(_PURPOSE, name.strip().encode()),
        duties=sorted(duties),
        valid_from=valid_from,
        valid_until=valid_until,
        notice_on=notice.on if notice else None,
        notice_document=notice.document if notice else None,
    )
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError:
        raise Conflict(f"this organization has a handler {row.label} already") from None
    _record(session, principal, row, "registered", None)
    return row


def change(
    session: Session,
    principal: Principal,
    organization_id: int,
    handler_id: int,
    *,
    kind: HandlerKind | None = None,
    duties: Collection[Role] | None = None,
    valid_until: date | None = None,
    notice: Notice | None = None,
) -> Handler:
    """Change a handler; what is None stays. With another `valid_until` or fewer duties its accounts close by that."""
    contractors.must_manage(principal)
    row = find(session, principal, organization_id, handler_id)
    before = _facts(row)
    if kind is not None:
        row.kind = kind
    if duties is not None:
        contractors.check_duties(duties)
        row.duties = sorted(duties)
    if valid_until is not None:
        _check_period(row.valid_from, valid_until)
        row.valid_until = valid_until
    if notice is not None:
        row.notice_on, row.notice_document = notice.on, notice.document
    session.add(row)
    session.flush()
    if _facts(row) != before:
        _record(session, principal, row, "changed", before)
    return row


def open_name(session: Session, principal: Principal, row: Handler) -> str:
    """Return a handler's name in clear; the look goes on record."""
    chain.record(session, principal, "handler.read_name", f"handler:{row.id}", {"organization": row.organization_id})
    return vault.unseal(_PURPOSE, bytes(row.name_sealed)).decode()


def changes(session: Session, principal: Principal, *, since: date, until: date) -> list[Change]:
    """Return the changes of a span of days that the principal may know of, oldest first, with names; on record."""
    rows = session.exec(
        select(HandlerChange, Handler, Organization)
        .join(Handler, col(Handler.id) == HandlerChange.handler_id)
        .join(Organization, col(Organization.id) == Handler.organization_id)
        .where(
            contractors.within(principal),
            col(HandlerChange.at) >= first_moment(since),
            col(HandlerChange.at) < first_moment(until + timedelta(days=1)),
        )
        .order_by(col(HandlerChange.id))
    ).all()
    everyone = {each.id: each for each in session.exec(select(Organization))}
    details = {"since": since.isoformat(), "until": until.isoformat(), "lines": len(rows)}
    chain.record(session, principal, "handler.report", "handlers", details)
    return [
        Change(
            at=change.at,
            organization=organization.name,
            tier=Tier(organization.tier),
            reports_to=_reports_to(organization, everyone),
            kind=HandlerKind(handler.kind),
            label=handler.label,
            name=vault.unseal(_PURPOSE, bytes(handler.name_sealed)).decode(),
            what=change.what,
            before=change.before,
            after=change.after,
        )
        for change, handler, organization in rows
    ]


def _reports_to(organization: Organization, everyone: dict[int | None, Organization]) -> str:
    above = everyone[organization.parent_id]
    higher = [everyone[above.parent_id].name] if above.parent_id is not None else []
    return ", ".join([*higher, above.name])


def _check_period(valid_from: date, valid_until: date | None) -> None:
    if valid_until is not None and valid_until < valid_from:
        raise _wrong("/valid_until", "is before its beginning")


def _facts(row: Handler) -> dict[str, Any]:
    return {
        "kind": HandlerKind(row.kind).value,
        "duties": list(row.duties),
        "valid_from": row.valid_from.isoformat(),
        "valid_until": row.valid_until.isoformat() if row.valid_until else None,
        "notice_on": row.notice_on.isoformat() if row.notice_on else None,
    }


def _record(session: Session, principal: Principal, row: Handler, what: str, before: dict[str, Any] | None) -> None:
    assert row.id is not None
    after = _facts(row)
    session.add(
        HandlerChange(handler_id=row.id, at=clock.now(), by=principal.actor[:80], what=what, before=before, after=after)
    )
    details = {"organization": row.organization_id, "label": row.label, "old": before, "new": after}
    chain.record(session, principal, f"handler.{what}", f"handler:{row.id}", details)


def _wrong(pointer: str, detail: str) -> Invalid:
    return Invalid(detail, errors=[{"pointer": pointer, "detail": detail}])
