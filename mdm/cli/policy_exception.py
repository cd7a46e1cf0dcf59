"""`tabane policy exception`: ask, agree, list and end exceptions by the API. Agreeing takes another's sign-in."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from mdm.cli.client import connected, fail, show_json
from profiles import files

app = typer.Typer(no_args_is_help=True, help="Places that differ for a time.")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Id = Annotated[str, typer.Argument(help="The exception's id.")]


@app.command()
def request(
    place: Annotated[str, typer.Option(help="school=CODE, class=CODE/6/1 or serial=S.")],
    file: Annotated[
        Path, typer.Option("--file", "-f", help="YAML with `set:` (values) and `without:` (entries to take out).")
    ],
    reason: Annotated[str, typer.Option(help="Why; a second person decides on it.")],
    days: Annotated[int, typer.Option(min=1, max=400, help="How long it holds.")],
    *,
    as_json: _Json = False,
) -> None:
    """Ask that a place may differ from wider layers. Nothing changes until another person approves it."""
    try:
        documents, _ = files.parse(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    except UnicodeDecodeError as error:
        fail(f"{file} is not UTF-8 (byte {error.start})")
    if len(documents) != 1 or not isinstance(documents[0], dict) or set(documents[0]) - {"set", "without"}:
        fail(f"{file} must hold `set:`, `without:` or both, and nothing else")
    body = {
        **documents[0],
        "place": place,
        "reason": reason,
        "expires_at": (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds"),
    }
    with connected() as api:
        found = api.post("/api/v1/policy-exceptions", body)
    _show(found, as_json=as_json)


@app.command()
def approve(
    exception: _Id,
    *,
    override: Annotated[list[str] | None, typer.Option(help="A lint that is overridden, by its code.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why it is overridden; goes on record.")] = None,
    as_json: _Json = False,
) -> None:
    """Agree to somebody else's request; the place's tablets are told at once."""
    body = {"overrides": override or [], "reason": reason}
    with connected() as api:
        found = api.post(f"/api/v1/policy-exceptions/{exception}/approve", body)
    _show(found, as_json=as_json)


@app.command("list")
def list_(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: _Json = False,
) -> None:
    """List the exceptions that wait or hold, newest first."""
    with connected() as api:
        found = list(api.each("/api/v1/policy-exceptions", all=everything))
    if as_json:
        show_json(found)
        return
    for each in found:
        _print(each)


@app.command()
def end(exception: _Id, *, as_json: _Json = False) -> None:
    """Decline, withdraw or end an exception; its tablets fall back at once."""
    with connected() as api:
        found = api.post(f"/api/v1/policy-exceptions/{exception}/end")
    _show(found, as_json=as_json)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    print(f"{found['id']}  {found['state']:<8} {found['place']}  until {found['expires_at'][:16]}Z")
    agreed = f", approved by {found['decided_by']}" if found["state"] == "active" else ""
    print(f"    {', '.join(found['fields'])}: asked by {found['requested_by']}{agreed}: {found['reason']}")
