"""Reads what a server hands out: a CommandUUID and a command. It carries nothing out.

https://developer.apple.com/documentation/devicemanagement/commandresponse
"""

import plistlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_UUID = re.compile(rb"<key>CommandUUID</key>\s*<string>([0-9A-Za-z-]{1,64})</string>")


@dataclass(frozen=True, slots=True)
class Order:
    """One command; it is not to be changed, for other tablets may hold the same."""

    uuid: str
    command: dict[str, Any]


def read_order(body: bytes) -> Order:
    """Read a command's property list (XML). A fleet is told the same thousands of times: only UUIDs differ."""
    found = _UUID.search(body)
    if found is None or body.count(b"<key>CommandUUID</key>") != 1:
        document = _document(body)
        return Order(document["CommandUUID"], document["Command"])
    begin, end = found.span(1)
    return Order(found[1].decode(), _document(body[:begin] + body[end:])["Command"])


@lru_cache(maxsize=64)
def _document(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = plistlib.loads(body, fmt=plistlib.FMT_XML)
    return document
