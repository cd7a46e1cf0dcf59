"""What the commands about SIMs share: find one by any of its names, and show lines of them. Prints; holds no rules."""

from typing import Any

from mdm.cli.client import Client, fail

PATH = "/api/v1/sims"
WHICH = "A control number, an ICCID, a telephone number, an IMSI, or #ID."


def one(api: Client, which: str) -> dict[str, Any]:
    """Return the one SIM that is meant, or end the command."""
    if which.startswith("#"):
        found: dict[str, Any] = api.get(f"{PATH}/{which[1:]}")
        return found
    # A tablet's control number may be the beginning of another's.
    exact = api.get(PATH, control_number=which, limit=2)["items"] if len(which) <= 32 else []
    digits = which.rstrip("Ff").replace(" ", "").replace("-", "")
    if not exact and digits.startswith("89") and 18 <= len(digits) <= 20:
        exact = api.get(PATH, iccid=which, limit=2)["items"]
    some: list[dict[str, Any]] = exact or api.get(PATH, q=which, limit=2)["items"]
    if not some:
        fail("there is no such SIM")
    if len(some) > 1:
        fail("several SIMs begin so; give all of the number, or #ID")
    return some[0]


def device_id(api: Client, control_number: str) -> int:
    """Return the id of a tablet, or end the command."""
    found = api.get("/api/v1/devices", control_number=control_number, limit=1)["items"]
    if not found:
        fail(f"there is no tablet with the control number {control_number}")
    return int(found[0]["id"])


def status_of(sim: dict[str, Any]) -> str:
    """Return where a line stands; with an arrow what we asked for and is not yet so."""
    intended, effective = sim["intended_status"], sim["effective_status"]
    return str(effective) if intended in (None, effective) else f"{effective} → {intended}"


def row(sim: dict[str, Any]) -> str:
    """Return a SIM as one line of a list."""
    cells = (sim["iccid"], sim["control_number"] or "-", sim["account"], sim["plan"] or "-", sim["pool"] or "-")
    wide = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, (20, 14, 14, 14, 12), strict=True))
    return f"#{sim['id']:<7} {wide}  {status_of(sim)}"


def day(moment: str | None) -> str:
    """Return an instant as it is shown."""
    return "-" if moment is None else f"{moment[:16].replace('T', ' ')}Z"


def gigabytes(size: int | None) -> str:
    """Return bytes in GB of 10^9."""
    return "-" if size is None else f"{size / 1e9:,.1f} GB"
