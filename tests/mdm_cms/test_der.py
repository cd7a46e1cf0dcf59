"""The TLV reader and writer."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.cms import ber, der
from mdm.errors import Malformed


@st.composite
def spelled(draw, depth=4):
    """Draw a value twice: as some BER spells it, and as DER does."""
    if depth == 0 or draw(st.booleans()):
        content = draw(st.binary(max_size=200))
        if draw(st.booleans()):
            return der.tlv(der.OCTET_STRING, content), der.tlv(der.OCTET_STRING, content)
        cut = draw(st.integers(0, len(content)))
        parts = der.tlv(der.OCTET_STRING, content[:cut]) + der.tlv(der.OCTET_STRING, content[cut:])
        return b"\x24\x80" + parts + b"\x00\x00", der.tlv(der.OCTET_STRING, content)
    children = draw(st.lists(spelled(depth=depth - 1), max_size=3))
    loose, strict = b"".join(c[0] for c in children), b"".join(c[1] for c in children)
    tag = draw(st.sampled_from([der.SEQUENCE, der.SET, der.CONTEXT_0]))
    if draw(st.booleans()):
        return bytes((tag, 0x80)) + loose + b"\x00\x00", der.tlv(tag, strict)
    return bytes((tag, 0x84)) + len(loose).to_bytes(4, "big") + loose, der.tlv(tag, strict)


@given(spelled())
def test_rewriting_ber_gives_der(pair):
    """Indefinite and padded lengths and split OCTET STRINGs come out as DER, and DER stays as it is."""
    loose, strict = pair
    assert ber.to_definite(loose) == strict
    assert ber.to_definite(strict) == strict


@given(st.binary(max_size=300))
def test_any_bytes_are_der_or_malformed(data):
    """No bytes make the rewrite or a reader raise anything but Malformed."""
    for attempt in (
        ber.to_definite,
        lambda d: der.Reader(d).raw(),
        lambda d: der.Reader(d).enter(der.SEQUENCE).integer(),
    ):
        with suppress(Malformed):
            attempt(data)


@given(st.integers(0, 2**200))
def test_integers_come_back(value):
    """What integer() writes, integer() reads."""
    assert der.Reader(der.integer(value)).integer() == value


@given(st.binary(max_size=70_000))
def test_contents_come_back(content):
    """Every length is written so that it is read again."""
    reader = der.Reader(der.tlv(der.OCTET_STRING, content))
    assert reader.take(der.OCTET_STRING) == content
    reader.close()


@pytest.mark.parametrize(
    ("dotted", "content"),
    [
        ("1.2.840.113549.1.7.2", "2a864886f70d010702"),
        ("2.16.840.1.113733.1.9.7", "6086480186f845010907"),
        ("1.3.14.3.2.26", "2b0e03021a"),
    ],
)
def test_object_identifiers(dotted, content):
    """Object identifiers are written as X.690 §8.19 says."""
    assert der.oid_content(dotted).hex() == content


@pytest.mark.parametrize("bomb", [b"\x30\x80" * 200_000, b"\x24\x80" * 5_000, b"\x30\x80" + b"\x05\x00" * 30_000])
def test_nesting_and_node_bombs_are_refused(bomb):
    """Depth and number of parts are capped, whatever the size."""
    with pytest.raises(Malformed):
        ber.to_definite(bomb)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x01",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x3f\x81\x00\x00",
        b"\x30\x89" + b"\x01" * 9,
        b"\x30\x00\x00",
        b"\x04\x80\x00\x00",
        b"\x30\x80\x00",
        b"\x30\x02\x30\x80\x00\x00",
    ],
)
def test_broken_values_are_refused(data):
    """Truncated, over-long, high-tag and unfinished values are Malformed for the rewrite."""
    with pytest.raises(Malformed):
        ber.to_definite(data)


@pytest.mark.parametrize(
    "data", [b"\x30\x80\x00\x00", b"\x30\x81\x01\x00", b"\x30\x82\x00\x81" + bytes(129), b"\x24\x02\x04\x00"]
)
def test_reader_points_out_ber(data):
    """The reader takes DER only and says so in a way that the caller can answer."""
    with pytest.raises(der.NotDer):
        der.Reader(data).take(der.OCTET_STRING if data[0] == 0x24 else der.SEQUENCE)


def test_the_size_cap_comes_first():
    """More bytes than the limit are refused before anything looks at them."""
    with pytest.raises(Malformed):
        ber.tolerant(lambda _: pytest.fail("was parsed"), bytes(11), limit=10)
