"""`tabane token`: one's own API tokens. A secret is printed once, when it is made."""

from typing import Annotated, Any

import typer

from mdm.cli.client import connected, show_json

app = typer.Typer(no_args_is_help=True, help="One's own API tokens.")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(
    label: Annotated[str, typer.Option("--label", help="What it is for.")],
    *,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", help="An action, such as ledger.import; may be repeated.")
    ] = None,
    school: Annotated[list[str] | None, typer.Option("--school", help="Only this school; may be repeated.")] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=90)] = 30,
    as_json: _Json = False,
) -> None:
    """Make a token: without --allow it only reads what names nobody and no place. It never does what needs a person."""
    body: dict[str, Any] = {"label": label, "days": days, "allow": allow, "schools": school}
    with connected() as api:
        made = api.post("/api/v1/tokens", {name: value for name, value in body.items() if value})
    if as_json:
        show_json(made)
        return
    print(made["secret"])
    print(f"Shown this once. It may: {', '.join(made['allow'])}. Until {made['expires_at']}.")


@app.command("list")
def list_(*, as_json: _Json = False) -> None:
    """List one's own live tokens."""
    with connected() as api:
        found = list(api.get("/api/v1/tokens")["items"])
    if as_json:
        show_json(found)
        return
    for each in found:
        may = "all that you may" if each["allow"] is None else ", ".join(each["allow"])
        print(f"{each['key']}  until {each['expires_at']}  {each['label']}: {may}")


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="As `tabane token list` shows it.")]) -> None:
    """End a token at once."""
    with connected() as api:
        api.delete(f"/api/v1/tokens/{key}")
    print(f"{key} opens nothing any more.")
