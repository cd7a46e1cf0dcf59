"""YAML files that people write by hand: plain values out, with the line of each, and nothing guessed.

It builds the values from parser events itself, because the usual loaders resolve `no` to false, `0123` to an octal
number, keep the last of two equal keys and follow aliases. What the values mean is for the rooms to say.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mdm.errors import Malformed

MAX_BYTES = 1_000_000
MAX_DEPTH = 12
MAX_NODES = 50_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times faster where it is built in
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_DOUBTFUL = frozenset({"yes", "no", "on", "off", "y", "n"})


@dataclass(slots=True)
class _Frame:
    """One open mapping or sequence while events go by."""

    value: dict[str, Any] | list[Any]
    pointer: str
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    """Turns one file's events into documents, with a line for each pointer."""

    documents: list[Any] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    stack: list[_Frame] = field(default_factory=list)
    nodes: int = 0

    def feed(self, event: yaml.Event) -> None:
        """Take one event; raises Malformed on anything that must not be in it."""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Malformed(f"line {_line(event)}: anchors and aliases are not used here")
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) not in (None, "!"):
            raise Malformed(f"line {_line(event)}: tags (a word after `!`) are not used here")
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.stack.pop()
        elif isinstance(event, yaml.MappingStartEvent):
            self._open({}, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open([], event)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)

    def _open(self, value: dict[str, Any] | list[Any], event: yaml.Event) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise Malformed(f"line {_line(event)}: nested deeper than {MAX_DEPTH} levels")
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise Malformed(f"line {_line(event)}: a key must be a plain word (a lone `{{` or `[` needs quotes)")
        self.stack.append(_Frame(value, self._place(value, event)))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            here = top.pointer + _step(event.value)
            if event.value in top.value:
                raise Malformed(
                    f"line {_line(event)}: `{event.value}` is written twice (also in line {self.lines[here]})"
                )
            self.lines[here] = _line(event)
            top.key = event.value
            return
        self._place(_resolved(event), event)

    def _place(self, value: object, event: yaml.Event) -> str:
        """Put a finished or just opened value where it belongs; returns its pointer."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise Malformed(f"more than {MAX_NODES} values")
        if not self.stack:
            here = _step(len(self.documents))
            self.documents.append(value)
        else:
            top = self.stack[-1]
            if isinstance(top.value, list):
                here = top.pointer + _step(len(top.value))
                top.value.append(value)
            else:
                assert top.key is not None
                here = top.pointer + _step(top.key)
                top.value[top.key] = value
                top.key = None
        self.lines[here] = _line(event)
        return here


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _resolved(event: yaml.ScalarEvent) -> object:
    """Quoted is text. Plain is true, false or a decimal integer if it looks exactly so, otherwise text."""
    text = event.value
    if not event.implicit[0]:
        return text
    if text in ("true", "false"):
        return text == "true"
    if text in ("", "~", "null"):
        raise Malformed(f"line {_line(event)}: nothing is written here; leave the key out, or check the indentation")
    if text.lower() in _DOUBTFUL or text.lower() in ("true", "false", "null"):
        raise Malformed(
            f"line {_line(event)}: `{text}` means different things to different readers; "
            "write allow, deny, true, false, or text in quotes"
        )
    return int(text) if _INTEGER.fullmatch(text) else text


def parse(text: str) -> tuple[list[Any], dict[str, int]]:
    """Return the documents of a YAML text as plain values, and the line of each pointer (`/0/apps`).

    Raises Malformed on bad syntax, too much of it, duplicate keys, aliases, tags, empty and doubtful values.
    """
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise Malformed(f"such a file has at most {MAX_BYTES} bytes")
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
    except yaml.MarkedYAMLError as wrong:
        where = f"line {wrong.problem_mark.line + 1}: " if wrong.problem_mark else ""
        raise Malformed(f"{where}not YAML: {wrong.problem or wrong.context}") from None
    except (yaml.YAMLError, ValueError) as wrong:
        raise Malformed(f"not YAML: {wrong}") from None
    return builder.documents, builder.lines


def needs_quotes(text: str) -> bool:
    """Say whether a text must be written in quotes, so that `parse` reads it back as the same text."""
    return text.lower() in _DOUBTFUL or _INTEGER.fullmatch(text) is not None


def line_of(pointer: str, lines: Mapping[str, int]) -> int | None:
    """The line of the nearest enclosing place that is written: a missing key has no line of its own."""
    while pointer not in lines and pointer:
        pointer = pointer.rpartition("/")[0]
    return lines.get(pointer)


def _step(part: str | int) -> str:
    """One step of an RFC 6901 pointer."""
    return "/" + str(part).replace("~", "~0").replace("/", "~1")
