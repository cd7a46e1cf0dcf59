"""Just enough DER to write and read what an iPad sends and gets: an independent witness, shared with nobody.

ITU-T X.690. It reads what servers answer in definite lengths; it is no parser for hostile input.
"""

from collections.abc import Iterator
from dataclasses import dataclass

INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x02, 0x03, 0x04, 0x05, 0x06
UTF8, PRINTABLE, UTC_TIME, SEQUENCE, SET = 0x0C, 0x13, 0x17, 0x30, 0x31
CONTEXT_0 = 0xA0


class NotDer(ValueError):
    """The bytes are not DER of the expected shape."""


def tlv(tag: int, *contents: bytes) -> bytes:
    """Return one element."""
    body = b"".join(contents)
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def sequence(*items: bytes) -> bytes:
    """Return a SEQUENCE."""
    return tlv(SEQUENCE, *items)


def set_of(*items: bytes) -> bytes:
    """Return a SET OF, its items in DER's order."""
    return tlv(SET, *sorted(items))


def integer(value: int) -> bytes:
    """Return a non-negative INTEGER."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def octets(value: bytes) -> bytes:
    """Return an OCTET STRING."""
    return tlv(OCTET_STRING, value)


def printable(text: str) -> bytes:
    """Return a PrintableString."""
    return tlv(PRINTABLE, text.encode("ascii"))


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | (arc & 0x7F))
        out += bytes(reversed(groups))
    return tlv(OID, bytes(out))


@dataclass(frozen=True, slots=True)
class Node:
    """One element: its tag, its content octets, and all of it as it stood."""

    tag: int
    content: bytes
    raw: bytes

    @property
    def children(self) -> list["Node"]:
        """The elements inside."""
        return list(_nodes(self.content))

    def child(self, index: int, tag: int | None = None) -> "Node":
        """Return one element inside; `NotDer` when it is not there or of another tag."""
        inside = self.children
        if index >= len(inside) or (tag is not None and inside[index].tag != tag):
            raise NotDer("an element is missing")
        return inside[index]


def parse(data: bytes) -> Node:
    """Return the one element that `data` holds."""
    found = list(_nodes(data))
    if len(found) != 1:
        raise NotDer("not exactly one element")
    return found[0]


def _nodes(data: bytes) -> Iterator[Node]:
    at = 0
    while at < len(data):
        start, tag = at, data[at]
        if at + 1 >= len(data):
            raise NotDer("cut short")
        size, at = data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            if not 1 <= count <= 4:
                raise NotDer("a length that is not DER")
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + size > len(data):
            raise NotDer("cut short")
        yield Node(tag, data[at : at + size], data[start : at + size])
        at += size
