"""`tabane operator`: accounts. `add` works on the database, for a host without any operator; the rest by the API."""

from typing import Annotated

import typer

from mdm.auth import Role, Scope
from mdm.cli import house
from mdm.cli.client import Client, connected, fail, show_json
from mdm.cli.login import PasswordFile, read_password
from mdm.db import transaction
from mdm.operators import accounts

app = typer.Typer(no_args_is_help=True, help="Operators' accounts.")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def add(
    name: str,
    role: Annotated[Role, typer.Option("--role")],
    *,
    school: Annotated[list[str] | None, typer.Option("--school", help="A school's code; may be repeated.")] = None,
    all_schools: Annotated[bool, typer.Option("--all-schools")] = False,
    break_glass: Annotated[
        bool, typer.Option("--break-glass", help="For when nothing else lets anybody in; its sign-in calls everyone.")
    ] = False,
    handler: Annotated[
        int | None, typer.Option("--handler", help="The registered handler of a contractor: `tabane organization`.")
    ] = None,
    password_file: PasswordFile = None,
) -> None:
    """Add an operator, straight in the database: for whoever runs this host."""
    if all_schools == bool(school):
        fail("give either --school CODE (may be repeated) or --all-schools", code=2)
    house.move_in()
    password = read_password(password_file, prompt="New password", confirm=True)
    with transaction() as session:
        scope = accounts.scope_of_codes(session, school or [], all_schools=all_schools, within=Scope(all_schools=True))
        accounts.add(
            session,
            "host",
            name=name,
            password=password,
            role=role,
            scope=scope,
            break_glass=break_glass,
            handler_id=handler,
        )
    print(f"Added {name} ({role.value}).")


@app.command("list")
def list_(*, as_json: _Json = False) -> None:
    """List the operators within one's scope."""
    with connected() as api:
        found = list(api.each("/api/v1/operators"))
    if as_json:
        show_json(found)
        return
    for each in found:
        where = "all schools" if each["all_schools"] else ", ".join(each["schools"])
        state = " (disabled)" if each["disabled_at"] else ""
        print(f"{each['id']:>5}  {each['name']:<24} {each['role']:<14} {where}{state}")


def _id_of(api: Client, name: str) -> int:
    found = next((each for each in api.each("/api/v1/operators") if each["name"] == name), None)
    return int(found["id"]) if found is not None else fail(f"there is no operator {name}")


def _set_disabled(name: str, *, disabled: bool) -> None:
    with connected() as api:
        api.patch(f"/api/v1/operators/{_id_of(api, name)}", {"disabled": disabled})
    print(f"{name} may {'no longer ' if disabled else ''}sign in.")


@app.command()
def disable(name: str) -> None:
    """Disable an operator; everything that was open ends at once."""
    _set_disabled(name, disabled=True)


@app.command()
def enable(name: str) -> None:
    """Let a disabled operator sign in again."""
    _set_disabled(name, disabled=False)


@app.command("reset-factors")
def reset_factors(
    name: str,
    *,
    host: Annotated[bool, typer.Option("--host", help="Straight in the database: when no administrator can.")] = False,
) -> None:
    """Forget the second factors of an operator who has lost them; everything that was open ends."""
    if host:
        house.move_in()
        with transaction() as session:
            accounts.reset_factors_by_host(session, name)
    else:
        with connected() as api:
            api.delete(f"/api/v1/operators/{_id_of(api, name)}/factors")
    print(f"{name} sets up a second factor anew at the next sign-in.")
