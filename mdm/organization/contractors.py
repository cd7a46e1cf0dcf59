"""Contractors and sub-contractors of the board, and their contracts. Knows no handlers; lets nobody in by itself.

甲 entrusts work to 乙, 乙 to 丙 with 甲's written consent, and 丙 to nobody (R-51). What an organization may do is the
duties of its contracts; versions follow one another and none is overwritten (R-32).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, or_, text, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.auth import Action, Principal, Role
from mdm.auth.entitlement import today
from mdm.auth.rights import DUTIES
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.organization.models import Contract, Organization, Tier

BOARD_NAME: Final = "教育委員会"
WARNED_BEFORE: Final = timedelta(days=60)
"""How long before access ends it is warned of (R-32)."""


class Standing(StrEnum):
    """Whether a contract lets anybody in."""

    NONE = "none"
    COMING = "coming"
    RUNNING = "running"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Access:
    """How an organization's access stands: until when, with the renewals that follow without a gap."""

    standing: Standing
    ends_on: date | None
    days_left: int | None

    @property
    def warning(self) -> bool:
        """Whether it ends soon."""
        return self.days_left is not None and self.days_left <= WARNED_BEFORE.days


@dataclass(frozen=True, slots=True)
class Consent:
    """The board's written consent to a sub-contractor: where it is filed, and of which day it is."""

    document: str
    on: date


def within(principal: Principal) -> ColumnElement[bool]:
    """Return the condition on `Organization`: the board sees all (R-53), a contractor its own and those below it."""
    if principal.organization_id is None:
        return true()
    own = principal.organization_id
    return or_(col(Organization.id) == own, col(Organization.parent_id) == own)


def visible(session: Session, principal: Principal) -> list[Organization]:
    """List the organizations that the principal may know of: the board first, each contractor before its own."""
    found = session.exec(select(Organization).where(within(principal))).all()
    names = {each.id: each.name for each in found}

    def place(each: Organization) -> tuple[bool, str, bool, str]:
        is_sub = each.tier == Tier.SUBCONTRACTOR
        head = names.get(each.parent_id, each.name) if is_sub else each.name
        return each.tier != Tier.BOARD, head, is_sub, each.name

    return sorted(found, key=place)


def find(session: Session, principal: Principal, organization_id: int) -> Organization:
    """Return one organization that the principal may know of, or raise `NotFound`."""
    found = session.exec(select(Organization).where(Organization.id == organization_id, within(principal))).first()
    if found is None:
        raise NotFound("there is no such organization")
    return found


def add(
    session: Session,
    principal: Principal,
    *,
    name: str,
    parent_id: int | None = None,
    consent: Consent | None = None,
    certificate: str | None = None,
    certificate_until: date | None = None,
) -> Organization:
    """Take an organization up: a contractor of the board, or with `parent_id` a sub-contractor of that one.

    Raises `Conflict` below a sub-contractor or for a name there is, `Invalid` without the consent that it takes.
    """
    must_manage(principal)
    parent = find(session, principal, parent_id) if parent_id is not None else _board(session)
    if parent.tier == Tier.SUBCONTRACTOR:
        raise Conflict("a sub-contractor may entrust its work to nobody")
    tier = Tier.CONTRACTOR if parent.tier == Tier.BOARD else Tier.SUBCONTRACTOR
    if tier is Tier.SUBCONTRACTOR and consent is None:
        raise _wrong("/consent", "a sub-contractor takes the board's written consent: where it is filed, and its day")
    row = Organization(
        name=name.strip(),
        tier=tier,
        parent_id=parent.id,
        consent_document=consent.document if consent else None,
        consent_on=consent.on if consent else None,
        certificate=certificate,
        certificate_until=certificate_until,
        created_at=clock.now(),
    )
    _insert(session, row, f"there is an organization {row.name} already")
    details = {"name": row.name, "tier": tier.value, "parent": parent.id, "consent": row.consent_document}
    chain.record(session, principal, "organization.add", f"organization:{row.id}", details)
    return row


def certify(
    session: Session, principal: Principal, organization_id: int, *, certificate: str, until: date | None
) -> Organization:
    """Note an organization's certificate by a third party (R-43), in place of the former."""
    must_manage(principal)
    row = find(session, principal, organization_id)
    before = {"certificate": row.certificate, "until": _iso(row.certificate_until)}
    row.certificate, row.certificate_until = certificate, until
    session.add(row)
    session.flush()
    after = {"certificate": certificate, "until": _iso(until)}
    chain.record(session, principal, "organization.certify", f"organization:{row.id}", {"old": before, "new": after})
    return row


def contracts(session: Session, organization_ids: Iterable[int]) -> dict[int, list[Contract]]:
    """Return the contracts of these organizations, each one's in the order of their beginnings."""
    wanted = list(organization_ids)
    statement = (
        select(Contract)
        .where(col(Contract.organization_id).in_(wanted))
        .order_by(col(Contract.starts_on), col(Contract.id))
    )
    found: dict[int, list[Contract]] = {each: [] for each in wanted}
    for row in session.exec(statement):
        found[row.organization_id].append(row)
    return found


def add_contract(
    session: Session,
    principal: Principal,
    organization_id: int,
    *,
    starts_on: date,
    ends_on: date,
    duties: Collection[Role],
    document: str,
    renews_id: int | None = None,
) -> Contract:
    """Put a contract on record; `renews_id` names the one that it continues.

    Raises `Invalid` for a period or a duty that cannot be (a sub-contractor's duties are the contractor's), `Conflict`
    for one that is renewed already, and for the board.
    """
    must_manage(principal)
    organization = find(session, principal, organization_id)
    if organization.tier == Tier.BOARD:
        raise Conflict("the board has no contract with itself")
    if ends_on < starts_on:
        raise _wrong("/ends_on", "is before its beginning")
    check_duties(duties)
    _check_above(session, organization, duties)
    own = contracts(session, [organization_id])[organization_id]
    if renews_id is not None and renews_id not in {each.id for each in own}:
        raise _wrong("/renews_id", "this organization has no such contract")
    row = Contract(
        organization_id=organization_id,
        starts_on=starts_on,
        ends_on=ends_on,
        duties=sorted(duties),
        document=document,
        renews_id=renews_id,
        recorded_at=clock.now(),
        recorded_by=principal.actor[:80],
    )
    _insert(session, row, "that contract is renewed already")
    details = {"contract": row.id, "from": _iso(starts_on), "to": _iso(ends_on), "duties": row.duties}
    details |= {"renews": renews_id, "document": document}
    chain.record(session, principal, "contract.add", f"organization:{organization_id}", details)
    return row


def terminate(session: Session, principal: Principal, organization_id: int, contract_id: int, *, on: date) -> Contract:
    """End a contract before its time; `on` is its last day. Whoever works by it is out from the next day on."""
    must_manage(principal)
    find(session, principal, organization_id)
    row = session.exec(
        select(Contract).where(Contract.id == contract_id, Contract.organization_id == organization_id)
    ).first()
    if row is None:
        raise NotFound("there is no such contract")
    if not row.starts_on - timedelta(days=1) <= on <= _end(row):
        raise _wrong("/on", f"must lie between {row.starts_on} and {_end(row)}")
    details = {"contract": row.id, "old": _iso(_end(row)), "new": _iso(on)}
    row.terminated_on = on
    session.add(row)
    session.flush()
    chain.record(session, principal, "contract.terminate", f"organization:{organization_id}", details)
    return row


def access_of(rows: Sequence[Contract], day: date) -> Access:
    """Say how access stands on a day, by an organization's contracts in the order of their beginnings. Pure."""
    running = [each for each in rows if each.starts_on <= day <= _end(each)]
    if not running:
        coming = any(each.starts_on > day for each in rows)
        standing = Standing.COMING if coming else Standing.OVER if rows else Standing.NONE
        return Access(standing, max((_end(each) for each in rows), default=None), None)
    end = max(_end(each) for each in running)
    for each in rows:
        if each.starts_on <= end + timedelta(days=1):
            end = max(end, _end(each))
    return Access(Standing.RUNNING, end, (end - day).days)


def must_manage(principal: Principal) -> None:
    """Raise `Forbidden` for whoever may not change organizations: they hold for every school."""
    principal.must(Action.MANAGE_ORGANIZATIONS)
    if not principal.scope.all_schools:
        raise Forbidden("contractors work for every school: it takes a scope of all schools")


def check_duties(duties: Collection[Role]) -> None:
    """Raise `Invalid` unless there are duties, and all may be entrusted."""
    wrong = sorted(set(duties) - DUTIES)
    if wrong or not duties:
        may_be = f"duties are {', '.join(sorted(DUTIES))}"
        raise _wrong("/duties", f"{', '.join(wrong)} is the board's own; {may_be}" if wrong else may_be)


def _check_above(session: Session, organization: Organization, duties: Collection[Role]) -> None:
    if organization.tier != Tier.SUBCONTRACTOR or organization.parent_id is None:
        return
    above = contracts(session, [organization.parent_id])[organization.parent_id]
    missing = sorted(set(duties) - {duty for each in above if _end(each) >= today() for duty in each.duties})
    if missing:
        raise _wrong("/duties", f"the contractor above has no contract for {', '.join(missing)}")


def _board(session: Session) -> Organization:
    """Return the board, which is there from the first contractor on."""
    found = select(Organization).where(Organization.tier == Tier.BOARD)
    session.execute(
        insert(Organization)
        .values(name=BOARD_NAME, tier=Tier.BOARD.value)
        .on_conflict_do_nothing(index_elements=["tier"], index_where=text("tier = 'board'"))
    )
    return session.exec(found).one()


def _end(row: Contract) -> date:
    return row.terminated_on or row.ends_on


def _insert(session: Session, row: Organization | Contract, otherwise: str) -> None:
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError:
        raise Conflict(otherwise) from None
    session.refresh(row)


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _wrong(pointer: str, detail: str) -> Invalid:
    return Invalid(detail, errors=[{"pointer": pointer, "detail": detail}])
