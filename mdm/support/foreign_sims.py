"""Ask for a case where a foreign SIM is in one of our tablets. Opens none itself: a case locks, and that is a person's.

The finding stands in the room of SIMs below, which knows no cases; this looks at both.
"""

from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular.findings import Kind
from mdm.safeguards import notices

_NAMED: Final = 20
_WANTED: Final = """
SELECT f.id FROM sim_finding f JOIN device d ON d.id = f.device_id
WHERE f.kind = :kind AND f.state = 'open' AND NOT EXISTS (
    SELECT FROM support_case c WHERE c.serial = d.serial AND c.closed_at IS NULL) ORDER BY f.id
"""


def ask_for_cases(session: Session) -> int:
    """Page once for each open finding whose tablet has no case yet, one page for all that are new; return how many."""
    found = session.execute(text(_WANTED), {"kind": Kind.FOREIGN_SIM.value}).scalars().all()
    new = notices.not_yet_told(session, [f"case.wanted:{finding}" for finding in found])
    if new:
        ids = [int(matter.rpartition(":")[2]) for matter in new[:_NAMED]]
        details = {"count": len(new), "findings": ids}
        notices.page(session, "case.wanted", "a foreign SIM is in a tablet: look at it and open a case", details)
    return len(new)
