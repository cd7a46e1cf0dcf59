"""`tabane enroll`: tickets that let tablets in. Goes through the operator API; holds no rules of its own."""

import base64
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mdm.cli.client import connected, fail, show_json

app = typer.Typer(help="Let tablets in.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def ticket(
    *,
    serial: Annotated[str | None, typer.Option(help="For one tablet of the ledger, once.")] = None,
    school: Annotated[str | None, typer.Option(help="For the set-up bench of the school with this code.")] = None,
    uses: Annotated[int | None, typer.Option(min=1, help="How many tablets of the school.")] = None,
    hours: Annotated[float | None, typer.Option(help="How long the ticket lives.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the enrolment profile to this file.")] = None,
    as_json: _Json = False,
) -> None:
    """Open a ticket; print the address of its enrolment profile, or write the profile to a file."""
    if (serial is None) == (school is None):
        raise typer.BadParameter("give either --serial or --school")
    wanted = {"serial": serial, "school": school, "uses": uses, "hours": hours}
    with connected() as client:
        opened = client.post("/api/v1/tickets", {name: value for name, value in wanted.items() if value is not None})
    if out is not None:
        try:
            out.write_bytes(base64.b64decode(opened["profile"]))
            out.chmod(0o600)  # whoever has it gets in
        except OSError as error:
            fail(f"cannot write {out}: {error.strerror}")
    if as_json:
        show_json(opened)
    else:
        print(f"ticket {opened['id']}, until {_local(opened['expires_at'])}")
        print(out if out is not None else opened["url"])


@app.command("list")
def list_tickets(
    every: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: _Json = False,
) -> None:
    """List tickets, newest first."""
    with connected() as client:
        found = list(client.each("/api/v1/tickets", live=not every))
    if as_json:
        show_json(found)
        return
    table = Table("ticket", "for", "used", "until", "state")
    for line in found:
        table.add_row(
            line["id"],
            line["serial"] or f"school {line['school']}",
            f"{line['used']}/{line['uses']}",
            _local(line["expires_at"]),
            _state(line),
        )
    Console().print(table)


@app.command()
def revoke(ticket_id: Annotated[str, typer.Argument(help="The ticket's id.")]) -> None:
    """End a ticket at once; tablets that it let in stay."""
    with connected() as client:
        client.post(f"/api/v1/tickets/{ticket_id}/revoke")
    print("revoked")


def _state(line: dict[str, Any]) -> str:
    if line["revoked_at"]:
        return "revoked"
    if line["used"] >= line["uses"]:
        return "used up"
    return "expired" if datetime.fromisoformat(line["expires_at"]) <= datetime.now().astimezone() else "open"


def _local(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
