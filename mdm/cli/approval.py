"""`tabane approval`: decide, as a second person, on what cannot be undone. Needs a sign-in and a key, never a token."""

import json
from typing import Annotated, Any

import typer

from mdm.cli import consent
from mdm.cli.client import connected, show_json
from mdm.cli.key import PassphraseFile

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


@app.command()
def approve(
    approval_id: str,
    *,
    urgent: Annotated[bool, typer.Option("--urgent", help="Without the waiting time.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: _Json = False,
) -> None:
    """Approve somebody else's request, signed with the key on this machine (`tabane key new`).

    What is signed is made here, of what is shown here: a server that shows one thing gets no signature for another.
    """
    with connected() as api:
        request = api.get(f"/api/v1/approvals/{approval_id}")
        if not yes:
            _print_all(request)
        body = consent.signed(api, request, urgent=urgent, yes=yes, passphrase_file=passphrase_file)
        approval = api.post(f"/api/v1/approvals/{approval_id}/approve", {**body, "urgent": urgent})
    _show(approval, as_json=as_json)


def _print_all(approval: dict[str, Any]) -> None:
    """Show on standard error everything that the signature covers; as JSON, which no text in it can break out of."""
    reason = json.dumps(approval["reason"], ensure_ascii=False)
    lines = [f"{approval['action']}, asked by {approval['requested_by']}: {reason}"]
    lines += [f"  {json.dumps(each, ensure_ascii=False, sort_keys=True)}" for each in approval["subject"]["devices"]]
    rest = {name: value for name, value in approval["subject"].items() if name != "devices"}
    lines.append(f"  {json.dumps(rest, ensure_ascii=False, sort_keys=True)}")
    typer.echo("\n".join(lines), err=True)


@app.command()
def reject(approval_id: str, *, as_json: _Json = False) -> None:
    """Refuse somebody else's request, or withdraw one's own."""
    with connected() as api:
        approval = api.post(f"/api/v1/approvals/{approval_id}/reject")
    _show(approval, as_json=as_json)


def _show(approval: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(approval)
    else:
        _print_line(approval)
