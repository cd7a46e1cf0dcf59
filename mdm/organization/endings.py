"""What ends soon at contractors: contracts, handlers' registrations, certificates (R-32, R-43, R-57). Tells nobody.

Ids and days only, so that it may leave the house.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from sqlmodel import Session, col, select

from mdm.organization import contractors
from mdm.organization.contractors import WARNED_BEFORE
from mdm.organization.models import Handler, Organization, Tier


class Ends(StrEnum):
    """What it is that ends."""

    CONTRACT = "contract"
    """All access of an organization, with the renewals that follow without a gap."""
    HANDLER = "handler"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class Ending:
    """Something ends with a day: `id` is the organization's, or of a handler its own."""

    what: Ends
    id: int
    organization_id: int
    on: date

    @property
    def matter(self) -> str:
        """A stable name: of a renewal that ends in its turn, another one."""
        return f"{self.what.value}.ends:{self.id}:{self.on.isoformat()}"


def soon(session: Session, day: date) -> list[Ending]:
    """Return what ends within 60 days of a day and has not ended yet, the soonest first."""
    found = [*_contracts_and_certificates(session, day), *_handlers(session, day)]
    return sorted(found, key=lambda each: (each.on, each.what, each.id))


def _contracts_and_certificates(session: Session, day: date) -> list[Ending]:
    entrusted = session.exec(select(Organization).where(Organization.tier != Tier.BOARD)).all()
    certified = {each.id: each.certificate_until for each in entrusted if each.id is not None}
    found = []
    for organization_id, rows in contractors.contracts(session, certified).items():
        access = contractors.access_of(rows, day)
        if access.warning and access.ends_on is not None:
            found.append(Ending(Ends.CONTRACT, organization_id, organization_id, access.ends_on))
        until = certified[organization_id]
        if until is not None and day <= until <= day + WARNED_BEFORE:
            found.append(Ending(Ends.CERTIFICATE, organization_id, organization_id, until))
    return found


def _handlers(session: Session, day: date) -> list[Ending]:
    last = col(Handler.valid_until)
    rows = session.exec(select(Handler).where(last >= day, last <= day + WARNED_BEFORE)).all()
    return [
        Ending(Ends.HANDLER, each.id, each.organization_id, each.valid_until)
        for each in rows
        if each.id is not None and each.valid_until is not None
    ]
