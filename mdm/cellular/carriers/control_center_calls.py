"""Control Center's calls that both lines and usage need: how one is made, and the list of lines. Judges nothing."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import httpx2
from pydantic import TypeAdapter

from mdm.cellular.carriers.connection import Connection
from mdm.cellular.carriers.reading import Wire, read, secret

PAGE: Final = 50
_FROM_THE_START: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Device(Wire):
    """What the list says of a line."""

    iccid: str
    status: str
    rate_plan: str | None = None


class _Devices(Wire):
    devices: list[Device]
    last_page: bool


_DEVICES: Final = TypeAdapter(_Devices)


def ask(
    connection: Connection, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None
) -> httpx2.Response:
    """Ask with the account's name and key; there are no sessions."""
    user, key = secret(connection.secret, "username", "api_key")
    basic = base64.b64encode(f"{user}:{key}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Accept": "application/json"}
    return connection.ask(method, path, params=params, json=json, headers=headers)


def devices(
    connection: Connection, number: int, *, changed_since: datetime | None = None
) -> tuple[list[Device], bool, bytes]:
    """Return a page of the list, whether it is the last, and its bytes."""
    since = (changed_since or _FROM_THE_START).astimezone(UTC).isoformat(timespec="seconds")
    answer = ask(connection, "GET", "/devices", params={"modifiedSince": since, "pageSize": PAGE, "pageNumber": number})
    found = read(_DEVICES, answer)
    return found.devices, found.last_page, answer.content
