"""Pages 60 days before contracts, handlers' registrations and certificates end, each once. Holds no rules."""

from sqlmodel import Session

from mdm.auth.entitlement import today
from mdm.organization import endings
from mdm.safeguards import notices


def tell(session: Session) -> int:
    """Page for what has come to end soon; return how much is new. One page for all, by ids: it leaves the house."""
    found = {each.matter: each for each in endings.soon(session, today())}
    new = [found[matter] for matter in notices.not_yet_told(session, found)]
    if new:
        details = {
            f"{each.what.value} {each.id}": {"organization": each.organization_id, "ends_on": each.on.isoformat()}
            for each in new
        }
        notices.page(session, "organization.ending", "Access of contractors ends within 60 days", details)
    return len(new)
