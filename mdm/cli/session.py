"""`tabane session`: where one is signed in, and ending it."""

from typing import Annotated

import typer

from mdm.cli.client import connected, fail, show_json

app = typer.Typer(no_args_is_help=True, help="One's own sessions.")


@app.command("list")
def list_(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List one's own live sessions."""
    with connected() as api:
        found = api.get("/api/v1/sessions")["items"]
    if as_json:
        show_json(found)
        return
    for each in found:
        mark = "*" if each["current"] else " "
        by = ", ".join(each["factors"])
        print(f"{mark} {each['key']}  since {each['created_at']}  from {each['address'] or 'this host'}  by {by}")


@app.command()
def end(
    key: Annotated[str | None, typer.Argument(help="As `tabane session list` shows it.")] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="All sessions and API tokens, this one too.")] = False,
) -> None:
    """End one of one's own sessions, or everything that is open."""
    if (key is None) != all_:
        fail("name a session, or give --all", code=2)
    with connected() as api:
        if all_:
            ended = api.delete("/api/v1/sessions")
            print(f"Ended {ended['sessions']} sessions and {ended['tokens']} tokens.")
        else:
            api.delete(f"/api/v1/sessions/{key}")
            print(f"{key} has ended.")
