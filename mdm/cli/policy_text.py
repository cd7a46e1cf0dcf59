"""Policies and plans as text: files in, lines out. It asks nobody and decides nothing."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from mdm.cli.client import fail
from profiles import files
from profiles.policy import PolicyDocument

_MOST_SHOWN = 10
_MOST_KEYS = 40
_LONGEST = 60


def read_file(file: str) -> list[PolicyDocument]:
    """Read and check a file; raises MdmError with the lines of its errors."""
    try:
        raw = sys.stdin.buffer.read(files.MAX_BYTES + 1) if file == "-" else Path(file).read_bytes()
        return files.load(raw.decode("utf-8-sig"))
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    except UnicodeDecodeError as error:
        fail(f"{file} is not UTF-8 (byte {error.start})")


def print_plan(found: dict[str, Any]) -> None:
    """Say what a plan says: steps, keys, schools, what cannot be, losses and lints, and its hash."""
    for step in found["steps"]:
        print(f"{step['name']} ({step['layer']}): {step['action']}, revision {step['revision']}")
        for change in step["changes"]:
            _print_change(change)
        for doubt in step["warnings"]:
            print(f"  warning {doubt['pointer']}: {doubt['detail']}")
        print(f"  {step['tablets']} tablets in this layer, {step['touched']} would hold something else")
    _print_keys(found["keys"])
    for school in found["schools"]:
        print(
            f"school {school['school']}: {school['tablets']} tablets fetch up to {_size(school['bytes_each'])} each,"
            f" {_size(school['bytes_in_all'])} over LTE"
        )
    for gap in found["cannot"]:
        print(f"{gap['tablets']} tablets cannot do {gap['pointer']}: {gap['reason']} ({gap['platform']})")
    for loss in found["deletions"]:
        print(f"taken away: {loss['what']} ({loss['tablets']} tablets)")
    if found["deletes"]:
        print(f"{found['deletes']} tablets lose something: applying needs --allow-delete {found['deletes']}")
    for lint in found["lints"]:
        stops = "stops" if lint["severity"] == "stop" else "stops a rollout to the whole layer"
        print(f"{stops} [{lint['code']}] {lint['pointer']}: {lint['detail']} ({lint['tablets']} tablets)")
    print(f"once rolled out: {found['touched']} tablets touched")
    print(f"plan {found['hash']}")


def _print_keys(keys: list[dict[str, Any]]) -> None:
    for key in keys[:_MOST_KEYS]:
        risk = "  RISKY" if key["risky"] else ""
        print(
            f"  {key['platform']} {key['artifact']} {key['key']}: {_brief(key['before'])} -> {_brief(key['after'])}"
            f" ({key['tablets']} tablets){risk}"
        )
    if len(keys) > _MOST_KEYS:
        print(f"  … {len(keys) - _MOST_KEYS} more keys (--json shows all)")


def _brief(value: Any) -> str:
    if isinstance(value, list) and len(value) != 1:
        return f"{len(value)} entries"
    shown = "(nothing)" if value is None else json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def _size(number: int) -> str:
    return f"{number} B" if number < 10_000 else f"{number / 1000:,.0f} kB"


def _print_change(change: dict[str, Any]) -> None:
    if not change["added"] and not change["removed"]:
        print(f"  {change['pointer']}: {_short(change['before'])} -> {_short(change['after'])}")
        return
    print(f"  {change['pointer']}:")
    for sign, entries in (("+", change["added"]), ("-", change["removed"])):
        for entry in entries[:_MOST_SHOWN]:
            print(f"    {sign} {_short(entry)}")
        if len(entries) > _MOST_SHOWN:
            print(f"    {sign} … {len(entries) - _MOST_SHOWN} more")


def _short(value: object) -> str:
    match value:
        case None:
            return "(nothing)"
        case bool():
            return str(value).lower()
        case dict():
            return str(value.get("bundle_id") or value.get("url"))
        case list():
            return f"{len(value)} entries in another order"
        case _:
            return str(value)


def print_effective(found: dict[str, Any]) -> None:
    """Write what one tablet should be as a policy, with who decided each field as comments."""
    print(f"# what {found['serial']} should be")
    sections = {name: part for name, part in _without_silence(found["sections"]).items() if part}
    print(as_yaml(sections) if sections else "# no policy speaks to it\n", end="")
    for place, names in found["decided_by"].items():
        print(f"# {place}: {', '.join(names)}")


def print_explained(found: dict[str, Any]) -> None:
    """Say of each value by which rule and layer it came, which exceptions hold, and what the tablet cannot do."""
    kind = {True: "supervised", False: "not supervised", None: "supervision unknown"}[found["supervised"]]
    print(f"{found['serial']}: {found['platform']} {found['os_version'] or '(version unknown)'}, {kind}")
    print(f"layers: {' < '.join(found['layers'])}")
    if not found["fields"]:
        print("no policy speaks to it")
    for each in found["fields"]:
        by = ", ".join(f"{name} [{layer}]" for name, layer in zip(each["by"], each["layers"], strict=True))
        print(f"{each['pointer']}: {_brief(_without_silence(each['value']))}  ({each['rule']}: {by})")
    for voice in found["voices"]:
        if voice["exception"]:
            print(f"exception {voice['exception']} [{voice['layer']}] until {voice['expires_at'][:16]}Z")
    for lack in found["cannot"]:
        print(f"cannot {lack['pointer']}: {lack['reason']}")


def _without_silence(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_silence(part) for key, part in value.items() if part is not None}
    return [_without_silence(part) for part in value] if isinstance(value, list) else value


def as_yaml(document: dict[str, Any]) -> str:
    """Write a document as the file it could have come from; text that looks like a number stays quoted."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
