"""`tabane ring`: the groups of places that rollouts reach first, by the API."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from mdm.cli.client import connected, show_json

app = typer.Typer(no_args_is_help=True, help="Who is reached first by rollouts.")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Name = Annotated[str, typer.Argument(help="The ring's name.")]


@app.command("list")
def list_(*, as_json: _Json = False) -> None:
    """List the rings in their order."""
    with connected() as api:
        found = api.get("/api/v1/rings")
    if as_json:
        show_json(found)
        return
    for each in found:
        _print(each)


@app.command("set")
def set_(
    name: _Name,
    place: Annotated[list[str], typer.Option(help="school=CODE, class=CODE/6/1 or serial=S; may be repeated.")],
    *,
    position: Annotated[
        int | None, typer.Option(min=1, help="1 is reached first; keeps its place, or is the last, when absent.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Make a ring, or give it other places."""
    with connected() as api:
        found = api.put(f"/api/v1/rings/{quote(name, safe='')}", {"places": place, "position": position})
    if as_json:
        show_json(found)
    else:
        _print(found)


@app.command()
def drop(name: _Name) -> None:
    """Remove a ring; rollouts that have begun keep their waves."""
    with connected() as api:
        api.delete(f"/api/v1/rings/{quote(name, safe='')}")
    print(f"{name} is no ring any more.")


def _print(ring: dict[str, Any]) -> None:
    print(f"{ring['position']:>3}  {ring['name']:<24} {ring['tablets']:>6} tablets  {', '.join(ring['places'])}")
