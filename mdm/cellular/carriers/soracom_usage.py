"""SORACOM's usage of the whole fleet: an export is ordered, waited for and fetched, a few days at a time."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from pydantic import TypeAdapter

from mdm.cellular.carriers.connection import Connection
from mdm.cellular.carriers.reading import Wire, read
from mdm.cellular.carriers.soracom_calls import ask, operator
from mdm.cellular.carriers.soracom_export import usage_of
from mdm.cellular.carriers.values import Denied, Page, Refused, Unclear, Usage

_DAYS_AN_EXPORT: Final = 7
"""15,000 lines give 15,000 rows a day: what is held at once stays within bounds."""
_WAIT_S: Final = 1.0
"""After which a file is first looked for; twice as long each time after that."""
_LONGEST_WAIT_S: Final = 600.0


class _Export(Wire):
    exported_file_id: str


class _ExportStatus(Wire):
    status: str
    url: str | None = None


_EXPORT: Final = TypeAdapter(_Export)
_EXPORT_STATUS: Final = TypeAdapter(_ExportStatus)


def usage(connection: Connection, *, first: date, last: date, cursor: Mapping[str, Any] | None) -> Page[Usage]:
    """Return a few days of all lines at a time: an export is ordered, waited for, and fetched."""
    today = datetime.now(UTC).date()
    start = date.fromisoformat(cursor["from"]) if cursor else first
    end = min(start + timedelta(days=_DAYS_AN_EXPORT - 1), last, today)
    if end < start:
        return Page(())
    tries = int(cursor.get("tries", 0)) if cursor else 0
    if not cursor or "file" not in cursor:
        ordered = {"from": start.isoformat(), "to": end.isoformat(), "file": _order(connection, start, end)}
        return Page((), {**ordered, "tries": tries}, wait_s=_wait(tries))
    end = date.fromisoformat(cursor["to"])
    try:
        body = _exported(connection, str(cursor["file"]))
    except (Refused, _Failed):  # gone by now, or never made: it is ordered again
        return Page((), {"from": start.isoformat(), "tries": tries + 1}, wait_s=_wait(tries + 1))
    if body is None:
        return Page((), {**cursor, "tries": tries + 1}, wait_s=_wait(tries + 1))
    following = end + timedelta(days=1)
    more = {"from": following.isoformat()} if following <= min(last, today) else None
    return Page(usage_of(body, start, end), more, (body,))


def _wait(tries: int) -> float:
    return min(_WAIT_S * 2.0 ** min(tries, 20), _LONGEST_WAIT_S)


def _order(connection: Connection, start: date, end: date) -> str:
    """Order an export of whole UTC days and return its id."""
    first = datetime(start.year, start.month, start.day, tzinfo=UTC)
    last = datetime(end.year, end.month, end.day, tzinfo=UTC)  # its whole day is counted, whichever moment is named
    body = {"from": int(first.timestamp()), "to": int(last.timestamp()), "period": "day"}
    path = f"/stats/air/operators/{quote(operator(connection), safe='')}/export"
    return read(_EXPORT, ask(connection, "POST", path, params={"export_mode": "async"}, json=body)).exported_file_id


class _Failed(Exception):
    """An export that will not come."""


def _exported(connection: Connection, file: str) -> bytes | None:
    """Fetch an ordered export, or None while it is being made."""
    found = read(_EXPORT_STATUS, ask(connection, "GET", f"/files/exported/{quote(file, safe='')}"))
    match found.status:
        case "processing":
            return None
        case "failed":
            raise _Failed
        case "exported" if found.url:
            return _download(connection, found.url)
        case _:
            raise Unclear("an export in a state that is not documented")


def _download(connection: Connection, url: str) -> bytes:
    """Fetch an export from where the carrier has put it: another host, which gets nothing of the session."""
    if not connection.may_show_secrets_to(url):
        raise Unclear("an export at an address without protection")
    try:
        return connection.ask("GET", url).content
    except Denied:  # its address is good for a while only; that says nothing about the account
        raise _Failed from None
