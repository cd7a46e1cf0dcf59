"""`tabane command`: ask things of tablets through the operator API, and follow what becomes of them."""

from typing import Annotated, Any

import typer

from mdm.cli.client import connected, show_json

app = typer.Typer(no_args_is_help=True, help="What is asked of tablets once.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Serials = Annotated[list[str], typer.Option("--serial", help="A tablet's serial number; may be repeated.")]
Message = Annotated[str | None, typer.Option("--message", help="Shown on the tablet.")]
Phone = Annotated[str | None, typer.Option("--phone", help="A number to call, shown on the tablet.")]
Footnote = Annotated[str | None, typer.Option("--footnote", help="Shown below, in lost mode.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; needed where a second person must approve.")]


def ask(kind: str, serials: list[str], *, arguments: dict[str, Any], reason: str = "", as_json: bool) -> None:
    """Ask something of tablets and print what became of it; ends with status 1 if any was refused."""
    given = {name: value for name, value in arguments.items() if value is not None}
    body = {"kind": kind, "serials": serials, "arguments": given, "reason": reason}
    with connected() as api:
        answer = api.post("/api/v1/commands", body, once=True)
    if as_json:
        show_json(answer)
    else:
        _print_answer(answer)
    if answer["refused"]:
        for each in answer["refused"]:
            typer.echo(f"tabane: {each['serial']}: {each['detail']}", err=True)
        raise typer.Exit(1)


def _print_answer(answer: dict[str, Any]) -> None:
    for each in answer["placed"]:
        command = each["command"]
        known = "" if each["created"] else " (was on its way already)"
        print(f"{command['serial']}  {command['kind']}  {command['state']}  {command['id']}{known}")
        if each["protects"]:
            print(f"    {each['protects']}")
        if command["state"] == "held":
            print(f"    Waits for a second person: tabane approval approve {each['approval_id']}")


@app.command()
def send(
    kind: Annotated[str, typer.Argument(help="lock, lost_mode_on, lost_mode_off, locate, wipe, restart, …")],
    serial: Serials,
    *,
    message: Message = None,
    phone: Phone = None,
    footnote: Footnote = None,
    drop_data_plan: Annotated[bool, typer.Option("--drop-data-plan", help="wipe: erase the eSIM's plan too.")] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Ask one thing of one or more tablets."""
    arguments: dict[str, Any] = {"message": message, "phone_number": phone, "footnote": footnote}
    if drop_data_plan:
        arguments["preserve_data_plan"] = False
    ask(kind, serial, arguments=arguments, reason=reason, as_json=as_json)


@app.command("list")
def list_(
    *,
    serial: Annotated[str | None, typer.Option("--serial")] = None,
    state: Annotated[str | None, typer.Option("--state")] = None,
    kind: Annotated[str | None, typer.Option("--kind")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: Json = False,
) -> None:
    """List commands, newest first."""
    with connected() as api:
        page = api.get("/api/v1/commands", serial=serial, state=state, kind=kind, limit=limit)
    if as_json:
        show_json(page["items"])
        return
    for each in page["items"]:
        print(f"{each['id']}  {each['created_at'][:19]}Z  {each['serial']:<14} {each['kind']:<18} {each['state']}")


def _print_detail(detail: dict[str, Any]) -> None:
    print(f"{detail['kind']} for {detail['serial']}: {detail['state']}")
    for each in detail["timeline"]:
        print(f"  {each['at'][:19]}Z  {each['state']:<11} {each['note']}")
    for each in detail["error"] or []:
        print(f"  error: {each}")


@app.command()
def show(command_id: str, *, as_json: Json = False) -> None:
    """Show one command with its timeline and the tablet's answer."""
    with connected() as api:
        detail = api.get(f"/api/v1/commands/{command_id}")
    if as_json:
        show_json(detail)
    else:
        _print_detail(detail)


@app.command()
def cancel(command_id: str, *, as_json: Json = False) -> None:
    """Cancel a command that the tablet has not been handed yet."""
    with connected() as api:
        detail = api.post(f"/api/v1/commands/{command_id}/cancel")
    if as_json:
        show_json(detail)
    else:
        _print_detail(detail)
