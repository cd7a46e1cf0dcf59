"""Whether a tablet may be wiped by a campaign: the one rule for planning, placing and sending. Pure.

It must be returned, in our hands by a scan, the same tablet that was signed for, and nobody's concern otherwise.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mdm.devices.models import EnrollmentStatus, LedgerState


class Why(StrEnum):
    """Why a tablet is not wiped by a campaign."""

    MALFORMED = "malformed"
    """Not a control number."""
    UNKNOWN = "unknown"
    """No such tablet in the ledger, or in the asker's schools."""
    NOT_CHOSEN = "not_chosen"
    """Another part of the filter leaves it out."""
    NOT_RETURNED = "not_returned"
    CASE = "case"
    """The support desk is looking for it."""
    NOT_ENROLLED = "not_enrolled"
    """Nothing can reach it."""
    NO_SCAN = "no_scan"
    """Nobody has scanned it since it was returned."""
    OLD_SCAN = "old_scan"
    ELSEWHERE = "elsewhere"
    """It was scanned in another place since."""
    OTHER_CAMPAIGN = "other_campaign"
    OTHER_WIPE = "other_wipe"
    """A wipe by itself is on its way."""
    ENROLLED_AGAIN = "enrolled_again"
    NEW_HOLDER = "new_holder"
    CHANGED = "changed"
    """Another serial or control number, or no row at all: not the tablet that was signed for."""
    CANCELLED = "cancelled"
    """Somebody cancelled its wipe."""
    WINDOW_OVER = "window_over"
    ABORTED = "aborted"
    EXPIRED = "expired"
    """Its wipe was never answered."""


@dataclass(frozen=True, slots=True)
class Facts:
    """How a tablet stands now."""

    device_id: int
    serial: str
    control_number: str
    school_id: int
    school: str
    state: str
    holder_id: int | None
    status: str
    epoch: int
    sought: bool
    """In an open case of loss."""
    scan_id: int | None
    """The newest scan of a check for which it stood as returned."""
    scanned_at: datetime | None
    scanned_in: int | None
    place_id: int | None
    """The newest scan of any kind that says where."""
    place: int | None
    campaign: bool
    """In another campaign that is not over."""
    wipe: bool
    """A wipe of it is live that is no campaign's."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed of a tablet."""

    device_id: int
    serial: str
    control_number: str
    epoch: int
    evidence_id: int
    scanned_in: int | None
    holder_id: int | None


def unfit(facts: Facts, *, now: datetime, days: int) -> Why | None:
    """Return why a tablet may not come into a campaign; None if it may. A scan counts for `days`."""
    why = _as_it_stands(facts, now=now, days=days)
    if why is not None:
        return why
    if _is_elsewhere(facts, facts.scan_id or 0, facts.scanned_in):
        return Why.ELSEWHERE
    return Why.OTHER_CAMPAIGN if facts.campaign else None


def fallen_out(facts: Facts | None, signed: Signed, *, now: datetime, days: int) -> Why | None:
    """Return why a tablet that was signed for may not be wiped any more; `facts` None: its row is gone."""
    if facts is None or (facts.serial, facts.control_number) != (signed.serial, signed.control_number):
        return Why.CHANGED
    if facts.epoch != signed.epoch:
        return Why.ENROLLED_AGAIN
    why = _as_it_stands(facts, now=now, days=days)
    if why is not None:
        return why
    if facts.holder_id != signed.holder_id:
        return Why.NEW_HOLDER
    return Why.ELSEWHERE if _is_elsewhere(facts, signed.evidence_id, signed.scanned_in) else None


def _as_it_stands(facts: Facts, *, now: datetime, days: int) -> Why | None:
    found = (
        (Why.NOT_RETURNED, facts.state != LedgerState.RETURNED),
        (Why.CASE, facts.sought),
        (Why.NOT_ENROLLED, facts.status != EnrollmentStatus.ACTIVE),
        (Why.NO_SCAN, facts.scanned_at is None),
        (Why.OLD_SCAN, facts.scanned_at is not None and facts.scanned_at < now - timedelta(days=days)),
        (Why.OTHER_WIPE, facts.wipe),
    )
    return next((why for why, holds in found if holds), None)


def _is_elsewhere(facts: Facts, since: int, where: int | None) -> bool:
    """Say whether a later scan has seen it in another place than where it was, or than where the ledger has it."""
    home = where if where is not None else facts.school_id
    return facts.place_id is not None and facts.place_id > since and facts.place != home
