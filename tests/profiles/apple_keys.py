"""Apple's published keys as a table of our own: the witness that the compiler's output is held against.

The facts stand in apple_keys.txt, written by hand and sharing nothing with `profiles.apple`: a misspelt key, a wrong
type or a missing gate there is a failure here.

One line is one key: its path (`[]` steps into an array), its type (B boolean, I integer, S string, A array,
D dictionary, data), then in any order `!` required, `>=N` the first iPadOS, `<N` the one that took it away, `sup`
supervised only, `a|b` the only values, `n..m` the range. A payload's line starts at the margin and may say `single`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ENVELOPE = {"PayloadIdentifier": str, "PayloadType": str, "PayloadUUID": str, "PayloadVersion": int}
"""What every payload carries (mdm/profiles/CommonPayloadKeys.yaml)."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "B": (bool,),
    "I": (int,),
    "S": (str,),
    "A": (list,),
    "D": (dict,),
    "data": (bytes,),
    "any": (bool, int, str, list, dict, bytes, float),
}


@dataclass(frozen=True)
class Key:
    """What is published about one key."""

    type: str
    required: bool = False
    minimum: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    supervised: bool = False
    values: frozenset[str] | None = None
    range: tuple[int, int] | None = None


@dataclass
class Payload:
    """What is published about one payload type."""

    gate: Key
    single: bool
    keys: dict[str, Key] = field(default_factory=dict)


def _key(kind: str, words: list[str]) -> Key:
    values, span = None, None
    for word in words:
        if "|" in word:
            values = frozenset(word.split("|"))
        elif ".." in word:
            low, _, high = word.partition("..")
            span = (int(low), int(high))
    minimum, removed = (_version(sign, words) for sign in (">=", "<"))
    return Key(kind, "!" in words, minimum, removed, "sup" in words, values, span)


def _version(sign: str, words: list[str]) -> tuple[int, ...]:
    """`14` and `14.0` are one version."""
    text = next((word.removeprefix(sign).removesuffix(".0") for word in words if word.startswith(sign)), "")
    return tuple(int(part) for part in text.split(".") if part)


def _read() -> dict[str, Payload]:
    payloads: dict[str, Payload] = {}
    for line in (Path(__file__).parent / "apple_keys.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, *words = line.split()
        if not line.startswith(" "):
            payload = payloads[name] = Payload(_key("D", words), "single" in words)
        else:
            assert words[0] in _TYPES, line
            assert name not in payload.keys, line
            payload.keys[name] = _key(words[0], words[1:])
    return payloads


PAYLOADS = _read()


def objections(payload: Mapping[str, object], *, supervised: bool, version: tuple[int, ...]) -> list[str]:
    """Everything in one payload that the publication does not allow on such a tablet; empty is right."""
    kind = payload.get("PayloadType")
    known = PAYLOADS.get(str(kind))
    if known is None:
        return [f"unknown payload type {kind}"]
    found = [
        f"{kind}: {name} must be {wanted.__name__}"
        for name, wanted in ENVELOPE.items()
        if type(payload.get(name)) is not wanted
    ]
    content = {key: value for key, value in payload.items() if key not in ENVELOPE}
    if not content:
        found.append(f"{kind}: says nothing")
    found += _gate(known.gate, str(kind), supervised=supervised, version=version)
    for problem in _walk(known.keys, "", content, supervised=supervised, version=version):
        found.append(f"{kind}: {problem}")
    return found


def _walk(
    keys: Mapping[str, Key], path: str, value: object, *, supervised: bool, version: tuple[int, ...]
) -> Iterator[str]:
    if isinstance(value, dict):
        inside = f"{path}." if path else ""
        yield from (
            f"{path or 'payload'} lacks {name}"
            for name, key in keys.items()
            if key.required and re.fullmatch(re.escape(inside) + r"[^.\[]+", name) and name[len(inside) :] not in value
        )
        members = [(f"{inside}{name}", member) for name, member in value.items()]
    elif isinstance(value, list):
        members = [(f"{path}[]", member) for member in value]
    else:
        return
    for name, member in members:
        known = keys.get(name) or keys.get(f"{path}.*")
        if known is None:
            yield f"no such key {name}"
            continue
        yield from _value(known, name, member)
        yield from _gate(known, name, supervised=supervised, version=version)
        if known.type != "any":
            yield from _walk(keys, name, member, supervised=supervised, version=version)


def _value(key: Key, name: str, value: object) -> Iterator[str]:
    if type(value) not in _TYPES[key.type]:
        yield f"{name} is {type(value).__name__}, not {key.type}"
        return
    listed = key.values is None or str(value) in key.values
    within = key.range is None or (isinstance(value, int) and key.range[0] <= value <= key.range[1])
    if not (listed and within):
        yield f"{name} may not be {value}"


def _gate(key: Key, name: str, *, supervised: bool, version: tuple[int, ...]) -> Iterator[str]:
    if key.supervised and not supervised:
        yield f"{name} needs supervision"
    if version < key.minimum:
        yield f"{name} needs iPadOS {'.'.join(map(str, key.minimum))}"
    if key.removed and version >= key.removed:
        yield f"{name} is gone since iPadOS {'.'.join(map(str, key.removed))}"
