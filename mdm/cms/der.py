"""A small TLV reader and writer for X.690: strict DER on the fast path, BER only by way of one bounded rewrite.

It must not know any message: no object identifiers, no schemas. Bytes from outside raise `Malformed` and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from mdm.errors import Malformed

T = TypeVar("T")

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = b"\x05\x00"
OBJECT_IDENTIFIER: Final = 0x06
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
IA5_STRING: Final = 0x16
UTC_TIME: Final = 0x17
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONTEXT_0: Final = 0xA0
CONTEXT_1: Final = 0xA1
IMPLICIT_0: Final = 0x80
CONSTRUCTED: Final = 0x20
CONSTRUCTED_OCTETS: Final = OCTET_STRING | CONSTRUCTED

MAX_DEPTH: Final = 32
MAX_NODES: Final = 20_000


class NotDer(Malformed):
    """Well-formed BER perhaps, but not DER: the caller may try again on `to_definite(data)`."""


class Reader:
    """A cursor over the TLVs between `pos` and `end` of `data`; it descends only where told to and never recurses."""

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes, pos: int = 0, end: int | None = None) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else end

    def _advance(self, expected: int) -> tuple[int, int]:
        """Step over the next TLV and return where its content starts and stops; `expected` -1 takes any tag."""
        data, pos, end = self.data, self.pos, self.end
        if end - pos < 2:
            raise Malformed("The message ends too early.")
        tag = data[pos]
        if tag != expected and expected >= 0:
            if tag == CONSTRUCTED_OCTETS and expected == OCTET_STRING:
                raise NotDer("The message is not DER.")
            raise Malformed("The message has another structure than expected.")
        if tag & 0x1F == 0x1F:
            raise Malformed("The message uses a tag number that no CMS message has.")
        length = data[pos + 1]
        start = pos + 2
        if length >= 0x80:
            count = length & 0x7F
            if count == 0:
                raise NotDer("The message is not DER.")
            if count > 8 or end - start < count:
                raise Malformed("The message has an impossible length.")
            length = int.from_bytes(data[start : start + count], "big")
            if length < 0x80 or data[start] == 0:
                raise NotDer("The message is not DER.")
            start += count
        stop = start + length
        if stop > end:
            raise Malformed("The message ends too early.")
        self.pos = stop
        return start, stop

    def peek(self) -> int:
        """Return the next tag, or -1 at the end."""
        return self.data[self.pos] if self.pos < self.end else -1

    def enter(self, tag: int) -> "Reader":
        """Step over the next TLV, which must have `tag`, and return a reader of its content."""
        start, stop = self._advance(tag)
        return Reader(self.data, start, stop)

    def take(self, tag: int) -> bytes:
        """Return the content of the next TLV, which must have `tag`."""
        start, stop = self._advance(tag)
        return self.data[start:stop]

    def raw(self, tag: int = -1) -> bytes:
        """Return the next TLV whole, header and all."""
        pos = self.pos
        _, stop = self._advance(tag)
        return self.data[pos:stop]

    def skip(self, tag: int = -1) -> None:
        """Step over the next TLV."""
        self._advance(tag)

    def integer(self) -> int:
        """Return the next INTEGER; refuses empty and absurdly long ones."""
        content = self.take(INTEGER)
        if not 0 < len(content) <= 64:
            raise Malformed("The message has an impossible integer.")
        return int.from_bytes(content, "big", signed=True)

    def rest(self) -> bytes:
        """Return everything up to the end, and stand there."""
        rest = self.data[self.pos : self.end]
        self.pos = self.end
        return rest

    def close(self) -> None:
        """Refuse anything left over."""
        if self.pos != self.end:
            raise Malformed("The message has trailing bytes.")


def tolerant(parse: Callable[[bytes], T], data: bytes, *, limit: int) -> T:
    """Return `parse(data)`, and where that meets BER, `parse(to_definite(data))`. More than `limit` bytes are refused.

    DER is what nearly everyone sends, so only the others pay for the rewrite.
    """
    if len(data) > limit:
        raise Malformed("The message is too large.")
    try:
        return parse(data)
    except NotDer:
        return parse(to_definite(data))


@dataclass(slots=True)
class _Open:
    """A constructed value that is being rewritten."""

    tag: int
    end: int | None
    """Where its content stops; None when an end-of-contents mark will say so."""
    parts: list[bytes] = field(default_factory=list)


def to_definite(data: bytes) -> bytes:
    """Rewrite one BER value with minimal definite lengths and primitive OCTET STRINGs (X.690 §8.1.3.6, §8.7, §10).

    The order of SETs is left alone. Depth and node count are capped and the walk is iterative, so a nesting bomb costs
    no more than its own size.
    """
    root = _Open(tag=-1, end=len(data))
    stack = [root]
    pos = nodes = 0
    while True:
        top = stack[-1]
        if top.end is None and data[pos : pos + 2] == b"\x00\x00":
            pos += 2
            _fold(stack)
        elif top.end == pos:
            if len(stack) == 1:
                break
            _fold(stack)
        else:
            nodes += 1
            if nodes > MAX_NODES:
                raise Malformed("The message has too many parts.")
            pos = _step(data, pos, stack)
    if len(root.parts) != 1:
        raise Malformed("The message has trailing bytes.")
    return root.parts[0]


def _step(data: bytes, pos: int, stack: list[_Open]) -> int:
    """Read one header: keep a primitive value, or open a constructed one. Return where to go on."""
    bound = next(frame.end for frame in reversed(stack) if frame.end is not None)
    if bound - pos < 2:
        raise Malformed("The message ends too early.")
    tag, first = data[pos], data[pos + 1]
    start = pos + 2
    if tag & 0x1F == 0x1F or tag == 0:
        raise Malformed("The message uses a tag number that no CMS message has.")
    length: int | None = first
    if first == 0x80:
        length = None
    elif first > 0x80:
        count = first & 0x7F
        if count > 8 or bound - start < count:
            raise Malformed("The message has an impossible length.")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if length is not None and start + length > bound:
        raise Malformed("The message ends too early.")
    if tag & CONSTRUCTED:
        if len(stack) > MAX_DEPTH:
            raise Malformed("The message is nested too deeply.")
        stack.append(_Open(tag=tag, end=None if length is None else start + length))
        return start
    if length is None:
        raise Malformed("The message has an impossible length.")
    _keep(stack[-1], tag, data[start : start + length])
    return start + length


def _fold(stack: list[_Open]) -> None:
    """Close the innermost value and hand it to the one around it."""
    done = stack.pop()
    tag = OCTET_STRING if done.tag == CONSTRUCTED_OCTETS else done.tag
    _keep(stack[-1], tag, b"".join(done.parts))


def _keep(parent: _Open, tag: int, content: bytes) -> None:
    if parent.tag == CONSTRUCTED_OCTETS:
        if tag != OCTET_STRING:
            raise Malformed("The message has another structure than expected.")
        parent.parts.append(content)
    else:
        parent.parts.append(tlv(tag, content))


def tlv(tag: int, *contents: bytes) -> bytes:
    """Return the DER of one value whose content is `contents` in a row."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*items: bytes) -> bytes:
    """Return a SEQUENCE of ready-made TLVs."""
    return tlv(SEQUENCE, *items)


def set_of(*items: bytes) -> bytes:
    """Return a SET OF ready-made TLVs, in DER order (X.690 §11.6)."""
    return tlv(SET, *sorted(items))


def integer(value: int) -> bytes:
    """Return a DER INTEGER."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def oid_content(dotted: str) -> bytes:
    """Return the content octets of an OBJECT IDENTIFIER, the form in which this package compares them."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | arc & 0x7F)
        out.extend(reversed(septets))
    return bytes(out)


def oid(content: bytes) -> bytes:
    """Return the TLV of an OBJECT IDENTIFIER from its content octets."""
    return tlv(OBJECT_IDENTIFIER, content)
