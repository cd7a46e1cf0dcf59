"""Cisco IoT Control Center (Jasper): lines, cycle-to-date usage by rate plan, acts. A plain module that fits `Carrier`.

After developer.cisco.com/docs/control-center (search-devices, get-device-details, edit-device-details,
get-usage-by-rate-plan), titobrasolin/jasper-client-python `specs/`, and api-evangelist/rogers for limits and errors.
HTTP Basic with user name and API key; fifty a page, one call at a time, five a second at most. Not verified, as no
account was at hand: the full list of status words; how far back `modifiedSince` may lie; under which name a usage's
zone stands (`zones[].devices[].{deviceId, usage.dataUsage}` is what public programs read); whether a 429 is ever sent.

The list is in the order of changes and paged by number: a line that changes meanwhile may push another out of sight
until the next list. What a list says is status and plan; radio and numbers come with a single line. Usage of plans
that several accounts share cannot be asked for at all, and of a plan's versions only the newest is asked.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from pydantic import TypeAdapter

from mdm.cellular.carriers.connection import Connection
from mdm.cellular.carriers.control_center_calls import PAGE, Device, ask, devices
from mdm.cellular.carriers.control_center_usage import usage
from mdm.cellular.carriers.reading import read
from mdm.cellular.carriers.values import (
    Act,
    By,
    Capabilities,
    Figures,
    Limits,
    Page,
    Receipt,
    Refused,
    SimKey,
    SimRecord,
    Unclear,
)
from mdm.cellular.models import ActionKind, SimStatus

__all__ = ["act", "capabilities", "sim", "sims", "usage"]

_STATUS: Final = {
    "INVENTORY": SimStatus.STOCK,
    "TESTREADY": SimStatus.STOCK,
    "ACTIVATIONREADY": SimStatus.STOCK,
    "ACTIVATED": SimStatus.ACTIVE,
    "DEACTIVATED": SimStatus.SUSPENDED,
    "RETIRED": SimStatus.TERMINATED,
    "PURGED": SimStatus.TERMINATED,
    "REPLACED": SimStatus.TERMINATED,
}
_ACTS: Final = frozenset({ActionKind.SUSPEND, ActionKind.RESUME, ActionKind.PLAN})


class _Details(Device):
    imsi: str | None = None
    msisdn: str | None = None
    imei: str | None = None
    eid: str | None = None
    date_updated: str | None = None


_DETAILS: Final = TypeAdapter(_Details)


def capabilities() -> Capabilities:
    """Return what the interface can do. Throttling and the IMEI lock are automation rules of its console."""
    return Capabilities(
        figures=frozenset({Figures.CYCLE_TO_DATE}),
        acts=_ACTS,
        limits=Limits(calls_per_s=3, in_flight=1, page=PAGE),
        lists_changes=True,
    )


def sims(
    connection: Connection, *, changed_since: datetime | None, cursor: Mapping[str, Any] | None
) -> Page[SimRecord]:
    """Return a page of all lines, or of those that changed since then."""
    number = int(cursor["page"]) if cursor else 1
    found, is_last, body = devices(connection, number, changed_since=changed_since)
    return Page(tuple(_record(device) for device in found), None if is_last else {"page": number + 1}, (body,))


def sim(connection: Connection, key: SimKey) -> SimRecord:
    """Return one line with its numbers and its radio."""
    found = read(_DETAILS, ask(connection, "GET", f"/devices/{_iccid(key)}"))
    record = _record(found)
    return SimRecord(
        key=record.key,
        status=record.status,
        carrier_status=record.carrier_status,
        iccid=record.iccid,
        eid=found.eid or None,
        imsi=found.imsi or None,
        msisdn=found.msisdn or None,
        plan=record.plan,
        imei=found.imei or None,
        modified_at=_moment(found.date_updated),
    )


def act(connection: Connection, act: Act, *, idempotency_key: str) -> Receipt:  # noqa: ARG001 - it knows none
    """Ask for an act; each sets a state, so that asking twice does no more than asking once."""
    changes = {
        ActionKind.SUSPEND: {"status": "DEACTIVATED"},
        ActionKind.RESUME: {"status": "ACTIVATED"},
        ActionKind.PLAN: {"ratePlan": act.value},
    }
    if act.kind not in _ACTS:
        raise Refused(f"this interface has no act {act.kind.value}")
    ask(connection, "PUT", f"/devices/{_iccid(act.key)}", json=changes[act.kind])
    return Receipt()


def _iccid(key: SimKey) -> str:
    if key.by is not By.ICCID:
        raise Refused("this interface knows lines by their ICCID")
    return quote(key.value, safe="")


def _record(device: Device) -> SimRecord:
    return SimRecord(
        key=SimKey(By.ICCID, device.iccid),
        status=_STATUS.get(device.status.upper().replace("_", ""), SimStatus.UNKNOWN),
        carrier_status=device.status,
        iccid=device.iccid,
        plan=device.rate_plan,
    )


def _moment(text: str | None) -> datetime | None:
    """Read `2016-07-06 22:04:04.380+0000`."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f%z")
    except ValueError:
        raise Unclear("an answer with an instant in another form than documented") from None
