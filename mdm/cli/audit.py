"""`tabane audit`: verify the trail here or elsewhere, export and list it by the API, look after its keys."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mdm.audit import chain, endpoints, export, inspection, signing
from mdm.audit.inspection import Verdict
from mdm.auditor import commands
from mdm.auditor.endpoints import ExaminedOut
from mdm.cli import house, organization
from mdm.cli.client import connected, fail, show_json
from mdm.db import transaction

app = typer.Typer(no_args_is_help=True, help="The record of who did what.")
_PATH = "/api/v1/audit"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Since = Annotated[str | None, typer.Option("--from", help="Not before this moment, such as 2026-04-01T00:00+09:00.")]
_Until = Annotated[str | None, typer.Option("--to", help="Before this moment.")]


@app.command()
def verify(
    *,
    as_json: _Json = False,
    head: Annotated[
        str, typer.Option("--head", help="A digest kept from an earlier run; it must still be there.")
    ] = "",
    by_api: Annotated[bool, typer.Option("--api", help="Ask the server instead of reading its database.")] = False,
    file: Annotated[Path | None, typer.Option("--export", help="An export, on any machine, instead.")] = None,
    witness: Annotated[list[Path] | None, typer.Option(help="A file of a witness; may be given again.")] = None,
    checkpoints: Annotated[list[Path] | None, typer.Option(help="A file of checkpoints, for --export.")] = None,
    public_keys: Annotated[Path | None, typer.Option(help="The keys of checkpoints, for --export.")] = None,
    secret_keys: Annotated[Path | None, typer.Option(help="The secret key file, for --export: checks seals.")] = None,
) -> None:
    """Say whether any event was changed, removed or inserted. Ends with 0 if not, with 1 if so.

    On the server itself unless told otherwise, with the witness and the checkpoints that its settings name.
    """
    if file is not None:
        proofs = export.Proofs(public_keys, tuple(checkpoints or ()), tuple(witness or ()), secret_keys)
        with file.open("rb") as stream:
            _say(endpoints.verdict_of(export.verify(stream, proofs)).model_dump(), cut=False, as_json=as_json)
    elif by_api:
        with connected() as api:
            _say(api.get(f"{_PATH}/verification"), cut=False, as_json=as_json)
    else:
        house.move_in()
        with transaction() as session:
            found: Verdict = inspection.verify(session, witnesses=witness or ())
            cut = bool(head) and not chain.contains(session, head)
        _say(endpoints.verdict_of(found).model_dump(), cut=cut, as_json=as_json)


def _say(verdict: dict[str, Any], *, cut: bool, as_json: bool) -> None:
    intact = verdict["intact"] and not cut
    if as_json:
        show_json(verdict | {"intact": intact, "cut": cut})
        if not intact:
            raise typer.Exit(1)
        return
    if not verdict["intact"]:
        listed = [_finding(each) for each in verdict["findings"]]
        fail(f"the audit trail is broken, {verdict['faults']} faults: {'; '.join(listed)}")
    if cut:
        fail("the audit trail was cut: the digest given with --head is not in it any more")
    print(f"The audit trail is intact: {verdict['events']} events, head {verdict['head']}.")
    print(f"Confirmed by a witness up to event {verdict['witnessed_to']}, by a checkpoint to {verdict['signed_to']}.")
    if verdict["unsealed"]:
        print(f"{verdict['unsealed']} events are from before there were seals: only their chain could be checked.")


def _finding(finding: dict[str, Any]) -> str:
    where = f"event {finding['event_id']}" if finding["event_id"] else f"place {finding['place']}"
    return f"{where} {str(finding['fault']).replace('_', ' ')}"


@app.command("export")
def export_(
    out: Annotated[Path, typer.Option("--out", help="A new file; - for standard output.", allow_dash=True)],
    *,
    since: _Since = None,
    until: _Until = None,
) -> None:
    """Export the trail as JSON Lines with digests and seals. The export itself is put on record."""
    with ExitStack() as stack:
        write = _writer(stack, out)
        api = stack.enter_context(connected())
        for piece in api.pieces(f"{_PATH}/export", since=_moment(since), until=_moment(until)):
            write(piece)


def _writer(stack: ExitStack, out: Path) -> Callable[[bytes], Any]:
    if str(out) == "-":
        return typer.get_binary_stream("stdout").write
    try:
        return stack.enter_context(out.open("xb")).write
    except OSError as error:
        fail(f"{out}: {error.strerror}")


def _moment(given: str | None) -> str | None:
    """Bring what was typed to a moment with an offset; without one it is the machine's own time."""
    if given is None:
        return None
    try:
        return datetime.fromisoformat(given).astimezone().isoformat()
    except ValueError:
        fail(f"not a moment: {given}", code=2)


@app.command()
def checkpoint(*, as_json: _Json = False) -> None:
    """Verify what is new and sign a checkpoint now, on the server, as the regular job does."""
    from workers import auditing  # noqa: PLC0415 - only this command needs it

    house.move_in()
    verdict, signed = auditing.look()
    if not verdict.intact:
        _say(endpoints.verdict_of(verdict).model_dump(), cut=False, as_json=as_json)
    if signed is None:
        fail("nothing was signed: the trail is empty, or audit.signing_key_file is not set")
    print(signed.line().decode() if as_json else f"signed up to event {signed.sequence}, {signed.digest.hex()}")


@app.command()
def report(
    since: Annotated[str, typer.Option("--from", help="Not before this moment, such as 2026-04-01.")],
    until: Annotated[str, typer.Option("--to", help="Before this moment.")],
    *,
    as_json: _Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    of: Annotated[
        str | None,
        typer.Option("--organization", help="A contractor's name or id: by handler, with those below."),
    ] = None,
) -> None:
    """Report who handled how much of what in a period (取扱状況): reads, exports, sign-ins, refusals, acts."""
    period = {"since": _moment(since), "until": _moment(until)}
    with connected() as api:
        path = f"{_PATH}/report" if of is None else f"{organization.PATH}/{organization.id_of(api, of)}/handling"
        if as_csv:
            typer.get_binary_stream("stdout").write(api.download(f"{path}.csv", **period))
            return
        lines = api.get(path, **period)
    if as_json:
        show_json(lines)
        return
    for line in lines:
        who = f"{line['actor'].removeprefix('operator:')} ({line['role'] or '-'})"
        if of is not None:
            print(f"{line['organization']:<24} {line['label']:<12} ", end="")
        print(f"{who:<32} {line['sort']:<8} {line['action']:<24} {line['count']:>7}  {line['last_at'][:19]}Z")


@app.command("commands")
def commands_(
    *,
    as_json: _Json = False,
    by_api: Annotated[bool, typer.Option("--api", help="Ask the server instead of reading its database.")] = False,
) -> None:
    """Hold all that ever left of class A against approvals, signatures, trail and budgets. Ends with 1 on a finding."""
    if by_api:
        with connected() as api:
            found = api.get(f"{_PATH}/commands")
    else:
        house.move_in()
        with transaction() as session:
            found = ExaminedOut.model_validate(commands.examine(session, commands.EVER)).model_dump(mode="json")
    if as_json:
        show_json(found)
    else:
        for each in found["findings"]:
            print(f"command {each['command_id']}, tablet {each['device_id']}: {each['fault'].replace('_', ' ')}")
        print(f"{found['commands']} commands of class A left; {len(found['findings'])} findings.")
    if found["findings"]:
        raise typer.Exit(1)


@app.command()
def keys(
    *,
    as_json: _Json = False,
    new: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--new", help="Make a key: a new file for the private half, a file to add the public half to."),
    ] = None,
) -> None:
    """Show the public keys that checkpoints are checked with, or make a new key."""
    if new is not None:
        print(f"made key {signing.make(*new)}")
        return
    with connected() as api:
        found = api.get(f"{_PATH}/keys")
    if as_json:
        show_json(found)
        return
    for each in found:
        print(f"# {each['id']}\n{each['pem']}", end="")


@app.command("list")
def list_(
    *,
    as_json: _Json = False,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    actor: Annotated[str | None, typer.Option()] = None,
    action: Annotated[str | None, typer.Option()] = None,
    subject: Annotated[str | None, typer.Option()] = None,
    since: _Since = None,
    until: _Until = None,
) -> None:
    """List the newest acts."""
    wanted = {"actor": actor, "action": action, "subject": subject, "since": _moment(since), "until": _moment(until)}
    with connected() as api:
        page = api.get(_PATH, limit=limit, **wanted)
    if as_json:
        show_json(page["items"])
        return
    for each in page["items"]:
        print(f"{each['id']:>7}  {each['at'][:19]}Z  {each['actor']:<24} {each['action']:<20} {each['subject']}")
