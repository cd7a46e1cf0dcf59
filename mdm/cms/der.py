"""A small TLV reader and writer for DER (X.690); `mdm.cms.ber` turns BER into it.

It must not know any message: no object identifiers, no schemas. Bytes from outside raise `Malformed` and nothing else.
"""

from typing import Final

from mdm.errors import Malformed

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


class NotDer(Malformed):
    """Well-formed BER perhaps, but not DER: the caller may try again on `ber.to_definite(data)`."""


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
