"""`tabane audit`: verify the chain on the database itself, list the trail by the API. Writes nothing."""

from typing import Annotated

import typer

from mdm.audit import chain
from mdm.cli import house
from mdm.cli.client import connected, fail, show_json
from mdm.db import transaction

app = typer.Typer(no_args_is_help=True, help="The record of who did what.")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def verify(
    *,
    as_json: _Json = False,
    head: Annotated[
        str, typer.Option("--head", help="A digest kept from an earlier run; it must still be there.")
    ] = "",
) -> None:
    """Walk the whole chain and say whether any event was changed, removed or inserted."""
    house.move_in()
    with transaction() as session:
        broken = chain.verify(session)
        events, newest = chain.head(session)
        cut = bool(head) and not chain.contains(session, head)
    if as_json:
        intact = broken is None and not cut
        show_json({"intact": intact, "first_broken_id": broken, "events": events, "head": newest.hex(), "cut": cut})
        if not intact:
            raise typer.Exit(1)
        return
    if broken is not None:
        fail(f"the audit trail is broken: event {broken} does not follow from the one before it")
    if cut:
        fail("the audit trail was cut: the digest given with --head is not in it any more")
    print(f"The audit trail is intact: {events} events, head {newest.hex()}.")


@app.command("list")
def list_(
    *,
    as_json: _Json = False,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    actor: Annotated[str | None, typer.Option()] = None,
    action: Annotated[str | None, typer.Option()] = None,
    subject: Annotated[str | None, typer.Option()] = None,
) -> None:
    """List the newest acts."""
    with connected() as api:
        page = api.get("/api/v1/audit", limit=limit, actor=actor, action=action, subject=subject)
    if as_json:
        show_json(page["items"])
        return
    for each in page["items"]:
        print(f"{each['id']:>7}  {each['at'][:19]}Z  {each['actor']:<24} {each['action']:<20} {each['subject']}")
