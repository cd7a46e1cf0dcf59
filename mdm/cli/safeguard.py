"""`tabane safeguard`: thresholds, the red button and the thaw by two, through the operator API."""

import json
from typing import Annotated, Any

import typer

from mdm.cli import consent
from mdm.cli.client import connected, fail, show_json
from mdm.cli.key import PassphraseFile

app = typer.Typer(no_args_is_help=True, help="Safeguards against mass wipes.")
_PATH = "/api/v1/safeguards"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask again before signing.")]


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="One threshold only, such as a.operator.hour.")] = None,
    *,
    history: Annotated[bool, typer.Option("--history", help="Every value that was set, newest first.")] = False,
    as_json: _Json = False,
) -> None:
    """Show the thresholds that hold, who set them and which way is looser."""
    if history and name is None:
        fail("say whose history: tabane safeguard show NAME --history", code=2)
    with connected() as api:
        found = [line for line in api.get(f"{_PATH}/thresholds") if name in (None, line["name"])]
        if not found:
            fail("there is no such threshold")
        if history:
            found = [{"name": name, **line} for line in api.each(f"{_PATH}/thresholds/{name}/history")]
    if as_json:
        show_json(found)
        return
    for line in found:
        _print(line)


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="Which threshold, such as a.operator.hour.")],
    value: int,
    *,
    reason: Annotated[str, typer.Option(help="Why; needed for loosening.")] = "",
    as_json: _Json = False,
) -> None:
    """Tighten a threshold at once, or ask another administrator to loosen it."""
    with connected() as api:
        answer = api.put(f"{_PATH}/thresholds/{name}", {"value": value, "reason": reason})
    if as_json:
        show_json(answer)
        return
    _print(answer["threshold"])
    if answer["request"] is not None:
        print("this loosens a safeguard; another administrator decides with")
        print(f"  tabane safeguard approve {answer['request']['id']}")


@app.command()
def status(*, as_json: _Json = False) -> None:
    """Say whether class A is frozen, since when and why."""
    with connected() as api:
        _show_standing(api.get(f"{_PATH}/breaker"), as_json=as_json)


@app.command()
def freeze(*, as_json: _Json = False) -> None:
    """The red button: freeze what cannot be undone, for everybody and at once."""
    with connected() as api:
        _show_standing(api.post(f"{_PATH}/freeze"), as_json=as_json)


@app.command()
def thaw(*, yes: _Yes = False, passphrase_file: PassphraseFile = None, as_json: _Json = False) -> None:
    """Thaw, as the first or the second of two administrators; the second signs with the key on this machine."""
    with connected() as api:
        found = api.get(f"{_PATH}/breaker")
        wish, body = found["thaw_request"], None
        if wish is not None and found["thaw_asked_by"] != f"operator:{api.get('/api/v1/session')['name']}":
            _print_wish(wish, asked_by=found["thaw_asked_by"])
            body = consent.signed(api, wish, passphrase_file=passphrase_file, yes=yes)
        _show_standing(api.post(f"{_PATH}/thaw", body), as_json=as_json)


def _print_wish(wish: dict[str, Any], *, asked_by: str) -> None:
    """Show on standard error all that a signature covers; as JSON, which no text in it can break out of."""
    told = json.dumps({**wish["subject"], "reason": wish["reason"]}, ensure_ascii=False, sort_keys=True)
    typer.echo(f"{wish['action']}, asked by {asked_by.removeprefix('operator:')}: {told}", err=True)


def _show_standing(standing: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(standing)
    elif not standing["open"]:
        print("nothing is frozen")
    else:
        who = standing["by"].removeprefix("operator:")
        print(f"frozen since {standing['since'][:19]}Z by {who}: {standing['pattern']}")
        if standing["thaw_asked_by"]:
            print(f"    {standing['thaw_asked_by'].removeprefix('operator:')} asks to thaw; another administrator must")


@app.command()
def requests(*, as_json: _Json = False) -> None:
    """List the wishes to loosen a threshold, newest first."""
    with connected() as api:
        found = list(api.each(f"{_PATH}/threshold-requests"))
    if as_json:
        show_json(found)
        return
    for each in found:
        _print_request(each)


@app.command()
def approve(
    request_id: str, *, yes: _Yes = False, passphrase_file: PassphraseFile = None, as_json: _Json = False
) -> None:
    """Agree to somebody else's wish to loosen a threshold, signed with the key on this machine (`tabane key new`)."""
    with connected() as api:
        wish = next((each for each in api.each(f"{_PATH}/threshold-requests") if each["id"] == request_id), None)
        if wish is None:
            fail("there is no such request")
        _print_wish(wish, asked_by=wish["requested_by"])
        body = consent.signed(api, wish, passphrase_file=passphrase_file, yes=yes)
        _show_request(api.post(f"{_PATH}/threshold-requests/{request_id}/approve", body), as_json=as_json)


@app.command()
def reject(request_id: str, *, as_json: _Json = False) -> None:
    """Refuse somebody else's wish, or withdraw one's own."""
    with connected() as api:
        _show_request(api.post(f"{_PATH}/threshold-requests/{request_id}/reject"), as_json=as_json)


def _show_request(request: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(request)
    else:
        _print_request(request)


def _print(line: dict[str, Any]) -> None:
    who = f"{line['set_by'].removeprefix('operator:')}, {line['set_at'][:19]}Z" if line["set_at"] else "first value"
    second = f", with {line['approved_by'].removeprefix('operator:')}" if line["approved_by"] else ""
    why = f": {line['reason']}" if line["reason"] else ""
    print(f"{line['name']:<26} {line['value']:>6}  {line.get('meaning', '')} ({who}{second}{why})")


def _print_request(request: dict[str, Any]) -> None:
    print(f"{request['id']}  {request['state']:<9} {request['name']} {request['before']} -> {request['value']}")
    print(f"    asked by {request['requested_by']}: {request['reason']} (until {request['expires_at'][:16]}Z)")
