"""What is signed of a campaign: its list of tablets, and the request that names it. Pure; makes no signature.

The web process, the sender and the command line make the same bytes from the same facts.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from mdm.campaigns.models import Campaign, CampaignTablet
from mdm.safeguards import signing

ACTION: Final = "campaign.wipe"
SIGNED: Final = ("id", "serial", "control_number", "school", "epoch", "evidence", "scanned_at")
"""The fields of a tablet that are signed, as the API shows them."""


def line(tablet: CampaignTablet) -> dict[str, Any]:
    """Return a tablet as it is signed."""
    return {
        "id": tablet.device_id,
        "serial": tablet.serial,
        "control_number": tablet.control_number,
        "school": tablet.school,
        "epoch": tablet.epoch,
        "evidence": tablet.evidence_id,
        "scanned_at": spelled(tablet.scanned_at),
    }


def spelled(moment: datetime) -> str:
    """Return a moment in the one spelling that is signed."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def snapshot(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the hash of a list of tablets, in the order of their ids; whatever else a line holds does not count."""
    ordered = sorted(lines, key=lambda each: int(each["id"]))
    return signing.snapshot([{name: each[name] for name in SIGNED} for each in ordered])


def subject(campaign: Campaign) -> dict[str, Any]:
    """Return what a campaign would do, as its row stands."""
    return {
        "campaign": {
            "id": str(campaign.id),
            "name": campaign.name,
            "filter": campaign.filter,
            "window": campaign.window,
            "arguments": campaign.arguments,
        },
        "tablets": campaign.tablets,
        "snapshot": campaign.snapshot.hex(),
    }


def digest(campaign: Campaign) -> bytes:
    """Return the digest of a campaign as its row stands: what its approvers sign."""
    return signing.digest(
        ACTION,
        subject(campaign),
        reason=campaign.reason,
        requested_by=campaign.requested_by,
        expires_at=campaign.expires_at,
    )
