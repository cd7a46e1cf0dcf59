"""`tabane operator`: accounts. `add` works on the database, for a host without any operator; the rest by the API."""

from typing import Annotated

import typer

from mdm.auth import Role
from mdm.cli import house
from mdm.cli.client import connected, fail, show_json
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
    password_file: PasswordFile = None,
) -> None:
    """Add an operator, straight in the database: for whoever runs this host."""
    if all_schools == bool(school):
        fail("give either --school CODE (may be repeated) or --all-schools", code=2)
    house.move_in()
    password = read_password(password_file, prompt="New password", confirm=True)
    with transaction() as session:
        scope = accounts.scope_of_codes(session, school or [], all_schools=all_schools)
        accounts.add(session, "host", name=name, password=password, role=role, scope=scope)
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


def _set_disabled(name: str, *, disabled: bool) -> None:
    with connected() as api:
        found = next((each for each in api.each("/api/v1/operators") if each["name"] == name), None)
        if found is None:
            fail(f"there is no operator {name}")
        api.patch(f"/api/v1/operators/{found['id']}", {"disabled": disabled})
    print(f"{name} may {'no longer ' if disabled else ''}sign in.")


@app.command()
def disable(name: str) -> None:
    """Disable an operator; everything that was open ends at once."""
    _set_disabled(name, disabled=True)


@app.command()
def enable(name: str) -> None:
    """Let a disabled operator sign in again."""
    _set_disabled(name, disabled=False)
