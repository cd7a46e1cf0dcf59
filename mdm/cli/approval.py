"""`tabane approval`: decide, as a second person, on what cannot be undone. Needs a sign-in; a token will not do."""

from typing import Annotated, Any

import typer

from mdm.cli.client import connected, show_json

app = typer.Typer(no_args_is_help=True, help="Decisions of a second person.")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(
    *,
    state: Annotated[str, typer.Option(help="pending, approved, rejected, cancelled, expired or all.")] = "pending",
    as_json: _Json = False,
) -> None:
    """List requests, newest first."""
    with connected() as api:
        found = list(api.each("/api/v1/approvals", state=None if state == "all" else state))
    if as_json:
        show_json(found)
        return
    for each in found:
        _print_line(each)


def _print_line(approval: dict[str, Any]) -> None:
    serials = ", ".join(each["serial"] for each in approval["devices"])
    print(f"{approval['id']}  {approval['state']:<9} {approval['action']}  {serials}")
    print(f"    asked by {approval['requested_by']}: {approval['reason']} (until {approval['expires_at'][:16]}Z)")


def _decide(approval_id: str, verb: str, *, as_json: bool) -> None:
    with connected() as api:
        approval = api.post(f"/api/v1/approvals/{approval_id}/{verb}")
    if as_json:
        show_json(approval)
    else:
        _print_line(approval)


@app.command()
def approve(approval_id: str, *, as_json: _Json = False) -> None:
    """Approve somebody else's request; what was asked for is done at once."""
    _decide(approval_id, "approve", as_json=as_json)


@app.command()
def reject(approval_id: str, *, as_json: _Json = False) -> None:
    """Refuse somebody else's request, or withdraw one's own."""
    _decide(approval_id, "reject", as_json=as_json)
