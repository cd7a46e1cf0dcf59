"""BER to DER in one bounded rewrite (X.690): for the few who send indefinite lengths or split strings.

It must not know any message. Bytes from outside raise `Malformed` and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from mdm.cms.der import CONSTRUCTED, CONSTRUCTED_OCTETS, OCTET_STRING, NotDer, tlv
from mdm.errors import Malformed

T = TypeVar("T")

MAX_DEPTH: Final = 32
MAX_NODES: Final = 20_000


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
