"""Control Center's usage: what a cycle's counters stand at, plan by plan and page by page.

A line stands once for each plan and zone that it was used in, perhaps pages apart, so that a cycle is told only when
all of it was read; until then its figures travel in the cursor. A line that comes twice, because pages have shifted
meanwhile, counts once. The cycle is named in each call: one that ends meanwhile is read to its end.
"""

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import Field, TypeAdapter

from mdm.cellular import cycles
from mdm.cellular.carriers.connection import Connection
from mdm.cellular.carriers.control_center_calls import PAGE, ask, devices
from mdm.cellular.carriers.reading import Wire, options, read
from mdm.cellular.carriers.values import By, CarrierError, CycleToDate, Page, SimKey, Usage

_CALLS: Final = 20
_SPELL_S: Final = 30.0
"""So many calls, or so long, before the cursor is handed out to be saved."""

_At = dict[str, Any]
"""The cycle, since when it is read, the plans found (`listed` so far, 0 when all are), the plan and page that come
next, and bytes by plan and zone and ICCID."""


class _Used(Wire):
    data_usage: int = Field(ge=0)


class _Device(Wire):
    device_id: str
    usage: _Used


class _Zone(Wire):
    zone: str | None = None
    devices: list[_Device]


class _Usages(Wire):
    zones: list[_Zone]
    last_page: bool


_USAGES: Final = TypeAdapter(_Usages)


def usage(connection: Connection, *, first: date, last: date, cursor: Mapping[str, Any] | None) -> Page[Usage]:
    """Return the counters of each cycle that the days touch: pages without figures, until one has a cycle's all."""
    at = dict(cursor) if cursor else _beginning(connection, first)
    raw: list[bytes] = []
    until = time.monotonic() + _SPELL_S
    while not _is_whole(at) and len(raw) < _CALLS and time.monotonic() < until:
        try:
            at, body = _listed(connection, at) if at["listed"] else _counted(connection, at)
        except CarrierError:
            if not raw:
                raise
            break  # what was read is kept; it will be raised again by the next call if it must
        raw.append(body)
    return _told(connection, at, last, tuple(raw)) if _is_whole(at) else Page((), at, tuple(raw))


def _is_whole(at: _At) -> bool:
    """Say whether all plans of the cycle are read; of an account without lines there are none to read."""
    return not at["listed"] and at["plan"] == len(at["plans"])


def _beginning(connection: Connection, first: date) -> _At:
    plans = options(connection.options, "rate_plans")
    start = cycles.of_day(first, connection.cycle_anchor_day).start
    return _cycle(start, plans) | {"listed": 0 if plans else 1}


def _cycle(start: date, plans: list[str]) -> _At:
    began = datetime.now(UTC).isoformat()
    return {"cycle": start.isoformat(), "began": began, "listed": 0, "plans": plans, "plan": 0, "page": 1, "bytes": {}}


def _listed(connection: Connection, at: _At) -> tuple[_At, bytes]:
    """Go on collecting the names of plans from the list of lines."""
    found, is_last, body = devices(connection, at["listed"])
    plans = sorted({*at["plans"], *(device.rate_plan for device in found if device.rate_plan)})
    return {**at, "plans": plans, "listed": 0 if is_last else at["listed"] + 1}, body


def _counted(connection: Connection, at: _At) -> tuple[_At, bytes]:
    """Read a page of a plan's counters."""
    plan = at["plans"][at["plan"]]
    params = {
        "ratePlanName": plan,
        "cycleStartDate": at["cycle"],
        "usageType": "DATA",
        "pageSize": PAGE,
        "pageNumber": at["page"],
    }
    answer = ask(connection, "GET", "/usages", params=params)
    found = read(_USAGES, answer)
    figures = {place: dict(of_zone) for place, of_zone in at["bytes"].items()}
    for position, zone in enumerate(found.zones):
        of_zone = figures.setdefault(f"{plan}/{zone.zone or position}", {})
        of_zone.update((device.device_id, device.usage.data_usage) for device in zone.devices)
    further = {"plan": at["plan"] + 1, "page": 1} if found.last_page else {"page": at["page"] + 1}
    return {**at, "bytes": figures, **further}, answer.content


def _told(connection: Connection, at: _At, last: date, raw: tuple[bytes, ...]) -> Page[Usage]:
    """Tell a cycle that was read, and go on with the next if the days asked for touch it."""
    anchor = connection.cycle_anchor_day
    cycle = cycles.of_day(date.fromisoformat(at["cycle"]), anchor)
    began = datetime.fromisoformat(at["began"])
    final = cycle.end <= began.astimezone(ZoneInfo(connection.billing_tz)).date()
    totals: dict[str, int] = {}
    for of_zone in at["bytes"].values():
        for iccid, used in of_zone.items():
            totals[iccid] = totals.get(iccid, 0) + used
    items = tuple(
        CycleToDate(SimKey(By.ICCID, iccid), cycle.start, began, total, final=final) for iccid, total in totals.items()
    )
    today = datetime.now(ZoneInfo(connection.billing_tz)).date()
    more = _cycle(cycle.end, at["plans"]) if cycle.end <= min(last, today) else None
    return Page(items, more, raw)
