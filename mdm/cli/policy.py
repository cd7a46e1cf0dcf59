"""`tabane policy`: check, plan, apply and show policy files. Files are read here; everything else goes by the API."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from mdm.cli.client import Client, connected, fail, show_json
from profiles import files
from profiles.policy import PolicyDocument

app = typer.Typer(no_args_is_help=True, help="What tablets should be.")

_MOST_SHOWN = 10
_File = Annotated[str, typer.Option("--file", "-f", help="Policy file (YAML); - for standard input.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def plan(file: _File, *, as_json: _Json = False) -> None:
    """Say what a policy file would change, and for how many tablets. Changes nothing."""
    documents = _read(file)
    with connected() as api:
        found = _plan(api, documents)
    if as_json:
        show_json(found)
    else:
        _print_plan(found)


@app.command()
def apply(
    file: _File,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: _Json = False,
) -> None:
    """Store the policies of a file as new revisions, after showing what changes. Tablets get them by a rollout."""
    documents = _read(file)
    with connected() as api:
        found = _plan(api, documents)
        if not as_json:
            _print_plan(found)
        changed = [step for step in found["steps"] if step["action"] != "unchanged"]
        if changed and not yes:
            _agree(file, as_json=as_json)
        expected = {step["name"]: step["revision"] for step in found["steps"]}
        body = {"documents": _bodies(documents), "expected_revisions": expected}
        stored = api.post("/api/v1/policies", body) if changed else []
    if as_json:
        show_json({"plan": found, "applied": stored})
        return
    for each in changed:
        print(f"{each['name']}: revision {each['revision']} stored. `tabane rollout start` brings it to tablets.")
    if not changed:
        print("nothing changed")


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="A policy; all of them when absent.")] = None,
    *,
    revision: Annotated[int | None, typer.Option(min=1, help="The latest when absent.")] = None,
    history: Annotated[bool, typer.Option("--history", help="List the policy's revisions.")] = False,
    serial: Annotated[str | None, typer.Option(help="What one tablet should be, and who says so.")] = None,
    as_json: _Json = False,
) -> None:
    """Show all policies, one as a policy file, its history, or what they come to on one tablet."""
    with connected() as api:
        if serial is not None:
            found = api.get("/api/v1/effective-policy", serial=serial)
            _print_effective(found) if not as_json else show_json(found)
        elif name is None:
            rows = list(api.each("/api/v1/policies"))
            _print_rows(rows) if not as_json else show_json(rows)
        elif history:
            rows = api.get(f"/api/v1/policies/{name}/revisions")
            _print_rows(rows) if not as_json else show_json(rows)
        else:
            found = api.get(f"/api/v1/policies/{name}", revision=revision)
            print(_as_yaml(found["document"]), end="") if not as_json else show_json(found)


def _read(file: str) -> list[PolicyDocument]:
    """Read and check a file; raises MdmError with the lines of its errors."""
    try:
        raw = sys.stdin.buffer.read(files.MAX_BYTES + 1) if file == "-" else Path(file).read_bytes()
        return files.load(raw.decode("utf-8-sig"))
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    except UnicodeDecodeError as error:
        fail(f"{file} is not UTF-8 (byte {error.start})")


def _bodies(documents: list[PolicyDocument]) -> list[dict[str, Any]]:
    return [document.body() for document in documents]


def _plan(api: Client, documents: list[PolicyDocument]) -> dict[str, Any]:
    found: dict[str, Any] = api.post("/api/v1/policies/plan", {"documents": _bodies(documents)})
    return found


def _agree(file: str, *, as_json: bool) -> None:
    if as_json or file == "-" or not sys.stdin.isatty():
        fail("nobody can be asked here; add --yes", code=2)
    if not typer.confirm("Apply?"):
        fail("nothing was applied")


def _print_plan(found: dict[str, Any]) -> None:
    for step in found["steps"]:
        print(f"{step['name']} ({step['layer']}): {step['action']}, revision {step['revision']}")
        for change in step["changes"]:
            _print_change(change)
        for doubt in step["warnings"]:
            print(f"  warning {doubt['pointer']}: {doubt['detail']}")
        print(f"  {step['tablets']} tablets in this layer, {step['touched']} would hold something else")
    for gap in found["cannot"]:
        print(f"{gap['tablets']} tablets cannot do {gap['pointer']}: {gap['reason']}")
    print(f"once rolled out: {found['touched']} tablets touched")


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


def _print_rows(rows: list[dict[str, Any]]) -> None:
    print(f"{'policy':<24} {'layer':<20} {'revision':>8} {'released':>8}  stored")
    for row in rows:
        released = row["released"] if row["released"] is not None else "-"
        stored = f"{row['created_at'][:19]}Z by {row['created_by'] or '-'}"
        print(f"{row['name']:<24} {row['layer']:<20} {row['revision']:>8} {released:>8}  {stored}")


def _print_effective(found: dict[str, Any]) -> None:
    print(f"# what {found['serial']} should be")
    sections = {name: part for name, part in _without_silence(found["sections"]).items() if part}
    print(_as_yaml(sections) if sections else "# no policy speaks to it\n", end="")
    for place, names in found["decided_by"].items():
        print(f"# {place}: {', '.join(names)}")


def _without_silence(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_silence(part) for key, part in value.items() if part is not None}
    return [_without_silence(part) for part in value] if isinstance(value, list) else value


def _as_yaml(document: dict[str, Any]) -> str:
    """Write a document as the file it could have come from; text that looks like a number stays quoted."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
