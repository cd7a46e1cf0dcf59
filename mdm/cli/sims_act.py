"""`tabane sims suspend | resume | speed | …`: wishes for lines, by the operator API, and how far they are."""

from typing import Annotated, Any

import typer

from mdm.cli.client import Client, connected, show_json
from mdm.cli.sim_text import PATH, WHICH, day, one

app = typer.Typer()
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the act. No names.")]
_Which = Annotated[list[str], typer.Argument(metavar="SIM...", help=WHICH)]
_One = Annotated[str, typer.Argument(metavar="SIM", help=WHICH)]


@app.command()
def suspend(
    which: _Which,
    *,
    reason: _Reason,
    wait_hours: Annotated[
        int, typer.Option(min=1, max=720, help="How long a tablet that has not answered was waited for.")
    ] = 24,
    as_json: _Json = False,
) -> None:
    """Suspend lines. Refused while a lock or wipe is on its way to the tablet: the SIM is how it gets there."""
    _act(which, {"kind": "suspend", "reason": reason, "wait_hours": wait_hours}, as_json=as_json)


@app.command()
def resume(which: _Which, *, reason: _Reason, as_json: _Json = False) -> None:
    """Open suspended lines again."""
    _act(which, {"kind": "resume", "reason": reason}, as_json=as_json)


@app.command()
def speed(
    value: Annotated[str, typer.Argument(metavar="CLASS", help="A speed class, as `sims account show` lists them.")],
    which: _Which,
    *,
    reason: _Reason,
    as_json: _Json = False,
) -> None:
    """Give lines another speed class."""
    _act(which, {"kind": "speed", "value": value, "reason": reason}, as_json=as_json)


@app.command("change-plan")
def change_plan(
    value: Annotated[str, typer.Argument(metavar="PLAN", help="The code of a plan of the account.")],
    which: _Which,
    *,
    reason: _Reason,
    as_json: _Json = False,
) -> None:
    """Ask the carrier for another plan for lines."""
    _act(which, {"kind": "plan", "value": value, "reason": reason}, as_json=as_json)


@app.command("lock-imei")
def lock_imei(
    which: _One,
    *,
    reason: _Reason,
    imei: Annotated[str, typer.Option("--imei", help="Another radio than the tablet's in the ledger.")] = "",
    as_json: _Json = False,
) -> None:
    """Let the carrier serve a line in one radio only, that of its tablet."""
    _act([which], {"kind": "lock_imei", "value": imei, "reason": reason}, as_json=as_json)


@app.command("unlock-imei")
def unlock_imei(which: _Which, *, reason: _Reason, as_json: _Json = False) -> None:
    """Let the carrier serve lines in any radio."""
    _act(which, {"kind": "unlock_imei", "reason": reason}, as_json=as_json)


@app.command()
def actions(
    which: Annotated[
        str | None, typer.Argument(metavar="[SIM]", help="Of one line; of all that are in scope if absent.")
    ] = None,
    *,
    state: Annotated[
        str | None, typer.Option("--state", help="requested, approved, sent, accepted, effective, failed, expired, …")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500)] = 50,
    as_json: _Json = False,
) -> None:
    """List what was wanted of lines, and how far it is, newest first."""
    with connected() as api:
        if which is None:
            found = api.get(f"{PATH}/actions", state=state, limit=limit)["items"]
        else:
            found = api.get(f"{PATH}/{one(api, which)['id']}/actions", limit=limit)["items"]
    if as_json:
        show_json(found)
        return
    for each in found:
        _print(each)


@app.command("take-back")
def take_back(action: Annotated[str, typer.Argument(help="The id of an act, as `sims actions` shows it.")]) -> None:
    """Take back an act that has not been sent yet."""
    with connected() as api:
        _print(api.post(f"{PATH}/actions/{action}/cancel"))


def _act(which: list[str], wish: dict[str, Any], *, as_json: bool) -> None:
    with connected() as api:
        ids = [int(one(api, each)["id"]) for each in which]
        answer = _for_one(api, ids[0], wish) if len(ids) == 1 else _for_several(api, ids, wish)
    if as_json:
        show_json(answer)
    else:
        for each in answer["acted"]:
            _print(each["action"])
            if each["warning"]:
                typer.echo(f"    {each['warning']}", err=True)
        for each in answer["refused"]:
            typer.echo(f"SIM #{each['sim_id']} refused: {each['detail']}", err=True)
        if answer["approval_id"]:
            print(f"They wait for a second person: tabane approval approve {answer['approval_id']}")
    if answer["refused"]:
        raise typer.Exit(1)


def _for_one(api: Client, sim_id: int, wish: dict[str, Any]) -> dict[str, Any]:
    acted = api.post(f"{PATH}/{sim_id}/actions", wish, once=True)
    return {"acted": [acted], "refused": [], "approval_id": None}


def _for_several(api: Client, ids: list[int], wish: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = api.post(f"{PATH}/actions", {**wish, "sims": ids}, once=True)
    return answer


def _print(each: dict[str, Any]) -> None:
    where = each["control_number"] or f"SIM #{each['sim_id']}"
    what = f"{each['kind']} {each['value']}".strip()
    when = day(each["requested_at"])
    print(f"{each['id']}  {where:<14} {what:<24} {each['state']:<10} {when}  {each['error']}".rstrip())
