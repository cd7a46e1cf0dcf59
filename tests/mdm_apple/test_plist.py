"""Property lists from outside: what parses, what is refused, and that the shortcut reads what the parser reads."""

import plistlib
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.apple import plist
from mdm.errors import Malformed

_HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0">'
_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")))
_LEAVES = (
    _TEXTS
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.binary(max_size=40)
    | st.floats(allow_nan=False)
    | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(microsecond=0))  # noqa: DTZ001
)
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4))


def _aware(value: Any) -> Any:
    match value:
        case dict():
            return {key: _aware(one) for key, one in value.items()}
        case list():
            return [_aware(one) for one in value]
        case datetime():
            return value.replace(tzinfo=UTC)
        case _:
            return value


@given(st.dictionaries(_TEXTS, _VALUES, max_size=5))
def test_what_plistlib_writes_is_read_back(document: dict[str, Any]) -> None:
    """Every kind of value survives, whatever library wrote it."""
    assert plist.loads(plistlib.dumps(document)) == _aware(document)


@given(st.dictionaries(st.text(st.characters(min_codepoint=32, max_codepoint=126)), _TEXTS, max_size=6))
def test_the_shortcut_reads_what_the_parser_reads(document: dict[str, str]) -> None:
    """A flat dictionary of strings means the same with and without the shortcut."""
    written = plistlib.dumps(document)
    assert plist.loads(written) == plist._Builder().parse(written) == document


def test_an_idle_message_takes_the_shortcut() -> None:
    """The message that the whole fleet sends is parsed in well under 30 microseconds."""
    body = plistlib.dumps({"Status": "Idle", "UDID": "00008030-001A2B3C4D5E6F70"})
    started = time.thread_time()
    for _ in range(2000):
        plist.loads(body)
    assert (time.thread_time() - started) / 2000 < 30e-6


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"{}",
        plistlib.dumps({"Status": "Idle"}, fmt=plistlib.FMT_BINARY),
        _HEAD + b"<array/></plist>",
        _HEAD + b"<dict><key>a</key></dict></plist>",
        _HEAD + b"<dict><string>a</string></dict></plist>",
        _HEAD + b"<dict><key>a</key><key>b</key></dict></plist>",
        _HEAD + b"<dict><key>a</key><integer>1e3</integer></dict></plist>",
        _HEAD + b"<dict><key>a</key><integer>" + b"9" * 5000 + b"</integer></dict></plist>",
        _HEAD + b"<dict><key>a</key><date>yesterday</date></dict></plist>",
        _HEAD + b"<dict><key>a</key><date>2026-13-01T00:00:00Z</date></dict></plist>",
        _HEAD + b"<dict><key>a</key><data>###</data></dict></plist>",
        _HEAD + b"<dict><key>a</key><set/></dict></plist>",
        _HEAD + b"<dict>stray</dict></plist>",
        _HEAD + b"<dict><key>a</key><string>b<true/></string></dict></plist>",
        _HEAD + b"<dict/><dict/></plist>",
        _HEAD + b"<plist><dict/></plist></plist>",
        _HEAD + b"<dict/></plist><plist/>",
        b'<!DOCTYPE plist [<!ENTITY a "b">]><plist><dict><key>a</key><string>&a;</string></dict></plist>',
        b"<dict/>",
    ],
)
def test_what_is_no_property_list_is_malformed(body: bytes) -> None:
    """Only the typed error comes out."""
    with pytest.raises(Malformed):
        plist.loads(body)


def test_bombs_cost_next_to_nothing() -> None:
    """Nesting, node counts and entity expansion stop at their caps."""
    deep = _HEAD + b"<dict><key>a</key>" + b"<array>" * 100_000 + b"</array>" * 100_000 + b"</dict></plist>"
    wide = _HEAD + b"<dict><key>a</key><array>" + b"<true/>" * 400_000 + b"</array></dict></plist>"
    laughs = b"<!DOCTYPE plist [" + b'<!ENTITY a "ha">' + b'<!ENTITY b "&a;&a;&a;">' + b"]>"
    started = time.thread_time()
    for bomb in (deep, wide, b'<?xml version="1.0"?>' + laughs + b"<plist><dict><key>&b;</key><true/></dict></plist>"):
        with pytest.raises(Malformed):
            plist.loads(bomb)
    assert time.thread_time() - started < 0.5


@given(st.binary(max_size=300))
def test_any_bytes_give_a_dictionary_or_the_typed_error(noise: bytes) -> None:
    """Noise after a plausible head never becomes another kind of failure."""
    with suppress(Malformed):
        assert isinstance(plist.loads(_HEAD + noise), dict)
