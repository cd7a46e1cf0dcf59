"""`tabane policy`: plan, apply, show and explain policies, by the API. It decides nothing itself."""

import sys
from typing import Annotated, Any

import typer

from mdm.cli import policy_compile, policy_exception
from mdm.cli.client import Client, connected, fail, show_json
from mdm.cli.policy_text import as_yaml, print_effective, print_explained, print_plan, read_file
from profiles import presets
from profiles.policy import PolicyDocument, json_schema

app = typer.Typer(no_args_is_help=True, help="What tablets should be.")
presets_app = typer.Typer(no_args_is_help=True, help="Policies to start from.")
app.add_typer(presets_app, name="preset")
app.add_typer(policy_exception.app, name="exception")
app.command("compile")(policy_compile.compile_)

_File = Annotated[str, typer.Option("--file", "-f", help="Policy file (YAML); - for standard input.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("plan")
def plan_(file: _File, *, as_json: _Json = False) -> None:
    """Say what a policy file would change, and for how many tablets. Changes nothing."""
    documents = read_file(file)
    with connected() as api:
        found = _plan(api, documents)
    if as_json:
        show_json(found)
    else:
        print_plan(found)


@app.command()
def apply(
    file: _File,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    plan: Annotated[str | None, typer.Option(help="The hash of the plan that was agreed to.")] = None,
    allow_delete: Annotated[int | None, typer.Option(min=0, help="How many tablets may lose something.")] = None,
    override: Annotated[list[str] | None, typer.Option(help="A lint that is overridden, by its code.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why it is overridden; goes on record.")] = None,
    as_json: _Json = False,
) -> None:
    """Store the policies of a file as new revisions, after showing what changes. Tablets get them by a rollout."""
    documents = read_file(file)
    with connected() as api:
        found = _plan(api, documents)
        if not as_json:
            print_plan(found)
        changed = [step for step in found["steps"] if step["action"] != "unchanged"]
        if changed and not yes:
            _agree(file, as_json=as_json)
        expected = {step["name"]: step["revision"] for step in found["steps"]}
        body = {
            "documents": _bodies(documents),
            "expected_revisions": expected,
            "plan": plan or found["hash"],
            "allow_delete": allow_delete,
            "overrides": override or [],
            "reason": reason,
        }
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
            print_effective(found) if not as_json else show_json(found)
        elif name is None:
            rows = list(api.each("/api/v1/policies"))
            _print_rows(rows) if not as_json else show_json(rows)
        elif history:
            rows = api.get(f"/api/v1/policies/{name}/revisions")
            _print_rows(rows) if not as_json else show_json(rows)
        else:
            found = api.get(f"/api/v1/policies/{name}", revision=revision)
            print(as_yaml(found["document"]), end="") if not as_json else show_json(found)


@app.command()
def explain(
    serial: Annotated[str, typer.Option(help="The tablet's serial number.")], *, as_json: _Json = False
) -> None:
    """Say what one tablet should be: each value, the rule and the layer it came from, and what the tablet cannot do."""
    with connected() as api:
        found = api.get("/api/v1/effective-policy", serial=serial)
    print_explained(found) if not as_json else show_json(found)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a policy document, for editors. Needs no server."""
    show_json(json_schema())


@presets_app.command("list")
def list_presets(*, as_json: _Json = False) -> None:
    """List the presets, each with its description. Needs no server."""
    found = [{"name": name, "description": presets.load(name).description or ""} for name in presets.names()]
    if as_json:
        show_json(found)
        return
    for each in found:
        print(f"{each['name']:<16} {each['description']}")


@presets_app.command("show")
def show_preset(name: Annotated[str, typer.Argument(help="A preset.")]) -> None:
    """Print a preset as a policy file, to be edited and applied. Needs no server."""
    if name not in presets.names():
        fail(f"there is no preset `{name}`; there are {', '.join(presets.names())}")
    print(presets.written(name), end="")


def _bodies(documents: list[PolicyDocument]) -> list[dict[str, Any]]:
    """With their passwords: they go to the server over the same connection as the sign-in."""
    return [document.body(secrets=str) for document in documents]


def _plan(api: Client, documents: list[PolicyDocument]) -> dict[str, Any]:
    found: dict[str, Any] = api.post("/api/v1/policies/plan", {"documents": _bodies(documents)})
    return found


def _agree(file: str, *, as_json: bool) -> None:
    if as_json or file == "-" or not sys.stdin.isatty():
        fail("nobody can be asked here; add --yes", code=2)
    if not typer.confirm("Apply?"):
        fail("nothing was applied")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    print(f"{'policy':<24} {'layer':<20} {'revision':>8} {'released':>8}  stored")
    for row in rows:
        released = row["released"] if row["released"] is not None else "-"
        stored = f"{row['created_at'][:19]}Z by {row['created_by'] or '-'}"
        print(f"{row['name']:<24} {row['layer']:<20} {row['revision']:>8} {released:>8}  {stored}")
