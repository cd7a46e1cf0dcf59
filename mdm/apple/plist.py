"""XML property lists with caps on size, depth and nodes that hold before anything walks the outcome.

Binary lists, entity declarations and anything else raise `Malformed`. Format: Apple's PropertyList-1.0.dtd.
"""

import base64
import binascii
import math
import plistlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from xml.parsers import expat

from mdm.errors import Malformed

MAX_DEPTH: Final = 32
MAX_NODES: Final = 20_000
MAX_BYTES: Final = 4 * 1024 * 1024

_FLAT_LIMIT: Final = 4096
# Printable ASCII without markup, so that this shortcut and the real parser cannot read the same bytes differently.
_TEXT: Final = rb"[ -%'-;=?-~]*+"
_FLAT: Final = re.compile(
    rb'<\?xml version="1\.0" encoding="UTF-8"\?>\s*+'
    rb'(?:<!DOCTYPE plist PUBLIC "-//Apple(?: Computer)?//DTD PLIST 1\.0//EN"'
    rb' "https?://www\.apple\.com/DTDs/PropertyList-1\.0\.dtd">)?+\s*+'
    rb'<plist version="1\.0">\s*+<dict>\s*+((?:<key>' + _TEXT + rb"</key>\s*+<string>" + _TEXT + rb"</string>\s*+)*+)"
    rb"</dict>\s*+</plist>\s*+"
)
_PAIR: Final = re.compile(r"<key>([^<]*)</key>\s*<string>([^<]*)</string>")

_INTEGER: Final = re.compile(r"[+-]?(?:\d{1,20}|0x[0-9a-fA-F]{1,16})")
_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z")
_BLANK: Final = re.compile(r"[ \t\r\n]+")


def loads(data: bytes) -> dict[str, Any]:
    """Parse an XML property list whose root is a dictionary; `Malformed` for anything else."""
    if len(data) <= _FLAT_LIMIT and (flat := _FLAT.fullmatch(data)) is not None:
        # What an idle tablet sends is one flat dictionary of strings: half the time of a check-in, if left to expat.
        return dict(_PAIR.findall(flat[1].decode("ascii")))
    if len(data) > MAX_BYTES:
        raise Malformed("The property list is too large.")
    if data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"<":
        raise Malformed("The message is not an XML property list.")
    return _Builder().parse(data)


def dumps(document: Mapping[str, Any]) -> bytes:
    """Write a property list, keys in the given order; the only way in which this house makes one."""
    return plistlib.dumps(document, fmt=plistlib.FMT_XML, sort_keys=False)


def to_json(value: Any) -> Any:
    """Return a parsed value as JSON: data in base64, dates in RFC 3339, and nothing where a real is not a number."""
    match value:
        case dict():
            return {key: to_json(one) for key, one in value.items()}
        case list():
            return [to_json(one) for one in value]
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


class _Builder:
    """Builds values from expat's events; iterative, so that depth costs nothing but its cap."""

    def __init__(self) -> None:
        self._stack: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str | None] = []
        self._text: list[str] = []
        self._open: str | None = None
        self._nodes = 0
        self._root: Any = None
        self._in_plist = False
        self._rooted = False

    def parse(self, data: bytes) -> dict[str, Any]:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = _refuse_entities
        try:
            parser.Parse(data, True)
        except (expat.ExpatError, ValueError, LookupError):
            raise Malformed("The message is not an XML property list.") from None
        if not isinstance(self._root, dict):
            raise Malformed("The property list is not a dictionary.")
        return self._root

    def _characters(self, text: str) -> None:
        if self._open is not None:
            self._text.append(text)
        elif not text.isspace():
            raise Malformed("The property list has text between its elements.")

    def _start(self, name: str, _attributes: object) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Malformed("The property list has too many parts.")
        if self._open is not None:
            raise Malformed("The property list has an element inside a value.")
        if name == "plist":
            if self._in_plist:
                raise Malformed("The property list is nested in itself.")
            self._in_plist = True
        elif not self._in_plist:
            raise Malformed("The message is not a property list.")
        elif name in ("dict", "array"):
            value: dict[str, Any] | list[Any] = {} if name == "dict" else []
            self._add(value)
            self._stack.append(value)
            self._keys.append(None)
            if len(self._stack) > MAX_DEPTH:
                raise Malformed("The property list is nested too deeply.")
        elif name == "key" or name in _SCALARS:
            self._open = name
            self._text.clear()
        else:
            raise Malformed("The property list has an element of no known kind.")

    def _end(self, name: str) -> None:
        if name in ("dict", "array"):
            if self._keys.pop() is not None:
                raise Malformed("The property list has a key without a value.")
            self._stack.pop()
        elif name != "plist":
            self._open = None
            text = "".join(self._text)
            if name == "key":
                self._name(text)
            else:
                self._add(_SCALARS[name](text))

    def _name(self, key: str) -> None:
        if not self._stack or not isinstance(self._stack[-1], dict) or self._keys[-1] is not None:
            raise Malformed("The property list has a key out of its place.")
        self._keys[-1] = key

    def _add(self, value: Any) -> None:
        if not self._stack:
            if self._rooted:
                raise Malformed("The property list has more than one root.")
            self._root, self._rooted = value, True
            return
        parent = self._stack[-1]
        if isinstance(parent, list):
            parent.append(value)
            return
        key = self._keys[-1]
        if key is None:
            raise Malformed("The property list has a value without a key.")
        parent[key] = value
        self._keys[-1] = None


def _refuse_entities(*_declaration: object) -> None:
    raise Malformed("The property list declares entities.")


def _integer(text: str) -> int:
    text = text.strip()
    if _INTEGER.fullmatch(text) is None:
        raise Malformed("The property list has an integer that is none.")
    value = int(text, 16 if "x" in text else 10)
    if not -(2**63) <= value < 2**64:
        raise Malformed("The property list has an integer out of range.")
    return value


def _real(text: str) -> float:
    if len(text) > 400:
        raise Malformed("The property list has a real that is too long.")
    return float(text)


def _data(text: str) -> bytes:
    try:
        return base64.b64decode(_BLANK.sub("", text), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("The property list has data that is not base64.") from None


def _date(text: str) -> datetime:
    match = _DATE.fullmatch(text.strip())
    if match is None:
        raise Malformed("The property list has a date that is none.")
    year, month, day, hour, minute, second = (int(part) for part in match.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


_SCALARS: Final[dict[str, Callable[[str], Any]]] = {
    "string": str,
    "integer": _integer,
    "real": _real,
    "data": _data,
    "date": _date,
    "true": lambda _text: True,
    "false": lambda _text: False,
}
