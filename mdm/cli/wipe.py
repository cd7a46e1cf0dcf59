"""`tabane wipe`: ask for one tablet to be erased. Only asks: a second person approves before it leaves."""

from typing import Annotated

import typer

from mdm.cli.command import Json, ask

app = typer.Typer()


@app.command()
def wipe(
    serial: Annotated[str, typer.Option("--serial", help="The tablet's serial number.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; the second person decides on it.")],
    *,
    drop_data_plan: Annotated[bool, typer.Option("--drop-data-plan", help="Erase the eSIM's plan too.")] = False,
    as_json: Json = False,
) -> None:
    """Ask for one tablet to be erased; it leaves only when a second person has approved."""
    arguments = {"preserve_data_plan": False} if drop_data_plan else {}
    ask("wipe", [serial], arguments=arguments, reason=reason, as_json=as_json)
