"""Policy files: YAML in, checked documents out, with the line of every error; and documents written back as YAML."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mdm.errors import Invalid, Malformed
from mdm.yamlfile import MAX_BYTES, MAX_DEPTH, MAX_NODES, line_of, needs_quotes, parse
from profiles.policy import PolicyDocument, read_all

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "dump", "load", "parse"]


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
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="'" if needs_quotes(text) else None)


_Writer.add_representer(str, _text)


def dump(bodies: Sequence[Mapping[str, Any]]) -> str:
    """Write documents (see `PolicyDocument.body`) as one policy file; `load` gives them back, secrets apart."""
    return yaml.dump_all(bodies, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=110)


def _with_line(error: dict[str, str], lines: dict[str, int]) -> str:
    line = line_of(error["pointer"], lines)
    return error["detail"] if line is None else f"line {line}: {error['detail']}"
