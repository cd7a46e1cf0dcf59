"""Policy files: YAML in, checked documents out, with the line of every error; and documents written back as YAML.

It builds plain values from parser events itself, because the usual loaders resolve `no` to false, `0123` to an octal
number, keep the last of two equal keys and follow aliases; none of that may happen to a policy.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from mdm.errors import Invalid, Malformed
from profiles.policy import PolicyDocument, pointer, read_all

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
        """Take one event; raises Malformed on anything a policy must not contain."""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Malformed(f"line {_line(event)}: anchors and aliases are not used in policy files")
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) not in (None, "!"):
            raise Malformed(f"line {_line(event)}: tags (a word after `!`) are not used in policy files")
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
            here = top.pointer + pointer(event.value)
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
            here = pointer(len(self.documents))
            self.documents.append(value)
        else:
            top = self.stack[-1]
            if isinstance(top.value, list):
                here = top.pointer + pointer(len(top.value))
                top.value.append(value)
            else:
                assert top.key is not None
                here = top.pointer + pointer(top.key)
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
        raise Malformed(f"a policy file has at most {MAX_BYTES} bytes")
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


def load(text: str) -> list[PolicyDocument]:
    """Return the policies of a file, in its order.

    Raises Malformed as `parse` does, Invalid with all field errors of all documents (pointer `/0/usb/…`, line in the
    detail), and Invalid on two policies of one name.
    """
    documents, lines = parse(text)
    if not documents:
        raise Malformed("the file holds no policy")
    try:
        return read_all(documents)
    except Invalid as wrong:
        errors = [error | {"detail": _with_line(error, lines)} for error in wrong.errors]
        raise Invalid("the policy file has errors", errors=errors) from None


class _Writer(yaml.SafeDumper):
    """Writes what `parse` reads back as the same values: text that looks like something else goes into quotes."""


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    doubtful = text.lower() in _DOUBTFUL or _INTEGER.fullmatch(text) is not None
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="'" if doubtful else None)


_Writer.add_representer(str, _text)


def dump(bodies: Sequence[Mapping[str, Any]]) -> str:
    """Write documents (see `PolicyDocument.body`) as one policy file; `load` gives them back, secrets apart."""
    return yaml.dump_all(bodies, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=110)


def _with_line(error: dict[str, str], lines: dict[str, int]) -> str:
    """The nearest enclosing place that is written in the file: a missing key has no line of its own."""
    here = error["pointer"]
    while here not in lines and here:
        here = here.rpartition("/")[0]
    return f"line {lines[here]}: {error['detail']}" if here in lines else error["detail"]
