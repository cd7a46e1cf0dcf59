"""`tabane campaign`: bulk wipes of returned tablets, by the API. Holds no rule of its own."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mdm.campaigns import manifest
from mdm.campaigns.terms import MOST
from mdm.checks import intake
from mdm.cli import keyfile
from mdm.cli.campaign_text import print_campaign, print_line, print_plan, print_signed
from mdm.cli.client import connected, fail, show_json, write_out
from mdm.cli.consent import own_key
from mdm.cli.key import PassphraseFile
from mdm.cli.login import read_password
from mdm.safeguards import signing

app = typer.Typer(no_args_is_help=True, help="Bulk wipes of returned tablets, signed by two organizations.")
_PATH = "/api/v1/campaigns"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="The campaign's id, as `request` and `list` print it.")]
_Why = Annotated[str, typer.Option("--reason", help="Why; no names of persons.")]
_Name = Annotated[str, typer.Argument(help="Such as リース満了 2027; no names of persons.")]
_First = Annotated[str, typer.Option("--from", help="The first day, as 2027-04-05.")]
_Last = Annotated[str, typer.Option("--to", help="The last day: what has not left by then falls out.")]
_Hours = Annotated[str, typer.Option(help="The hours of a day, Japan's time.")]
_Weekdays = Annotated[str, typer.Option(help="The working days.")]
_Closed = Annotated[list[str] | None, typer.Option(help="A day on which it rests; may be repeated.")]
_Schools = Annotated[list[str] | None, typer.Option("--school", help="A school's code; may be repeated.")]
_Lease = Annotated[str | None, typer.Option(help="The lease that ends.")]
_Check = Annotated[str | None, typer.Option(help="The id of the check that took stock of this return.")]
_File = Annotated[Path | None, typer.Option("--file", help="Control numbers, one a line or CSV; UTF-8 or CP932.")]
_Drop = Annotated[bool, typer.Option("--drop-data-plan", help="Erase the eSIM's plan too.")]


def _terms(
    name: str,
    window: dict[str, Any],
    *,
    schools: list[str] | None,
    lease: str | None,
    check: str | None,
    file: Path | None,
    drop: bool = False,
) -> dict[str, Any]:
    wanted: dict[str, Any] = {"schools": schools or None, "lease_contract": lease, "check": check}
    if file is not None:
        try:
            content = file.read_bytes()
        except OSError as error:
            fail(f"cannot read {file}: {error.strerror}")
        wanted["control_numbers"] = [each.text for each in intake.read(content, most=MOST)]
    given = {key: value for key, value in wanted.items() if value is not None}
    return {"name": name, "filter": given, "window": window, "preserve_data_plan": not drop}


def _window(first: str, last: str, hours: str, weekdays: str, closed: list[str] | None) -> dict[str, Any]:
    days = [each.strip() for each in weekdays.split(",") if each.strip()]
    return {"first_day": first, "last_day": last, "hours": hours, "weekdays": days, "closed": closed or []}


@app.command()
def plan(
    *,
    first: _First,
    last: _Last,
    name: Annotated[str, typer.Option(help="Its name.")] = "a plan",
    school: _Schools = None,
    lease: _Lease = None,
    check: _Check = None,
    file: _File = None,
    hours: _Hours = "09:00-17:00",
    weekdays: _Weekdays = "mon,tue,wed,thu,fri",
    closed: _Closed = None,
    as_json: _Json = False,
) -> None:
    """Show which tablets a bulk wipe would be about, and why others are left out. Nothing is kept."""
    window = _window(first, last, hours, weekdays, closed)
    with connected() as api:
        terms = _terms(name, window, schools=school, lease=lease, check=check, file=file)
        found = api.post(f"{_PATH}/plan", terms)
    if as_json:
        show_json(found)
    else:
        print_plan(found)


@app.command()
def request(
    name: _Name,
    *,
    first: _First,
    last: _Last,
    reason: _Why,
    school: _Schools = None,
    lease: _Lease = None,
    check: _Check = None,
    file: _File = None,
    hours: _Hours = "09:00-17:00",
    weekdays: _Weekdays = "mon,tue,wed,thu,fri",
    closed: _Closed = None,
    drop_data_plan: _Drop = False,
    as_json: _Json = False,
) -> None:
    """Ask for a bulk wipe: its list is frozen, and the board and a contractor must sign it within a day."""
    window = _window(first, last, hours, weekdays, closed)
    terms = _terms(name, window, schools=school, lease=lease, check=check, file=file, drop=drop_data_plan)
    with connected() as api:
        _show(api.post(_PATH, terms | {"reason": reason}, once=True), as_json=as_json)


@app.command("list")
def list_(
    *, state: Annotated[str | None, typer.Option(help="requested, approved, running, …")] = None, as_json: _Json = False
) -> None:
    """List bulk wipes, newest first."""
    with connected() as api:
        found = list(api.each(_PATH, state=state))
    if as_json:
        show_json(found)
        return
    for each in found:
        print_line(each)


@app.command()
def show(
    campaign_id: _Id,
    *,
    tablets: Annotated[bool, typer.Option("--tablets", help="Each tablet, too.")] = False,
    as_json: _Json = False,
) -> None:
    """Show a bulk wipe: what was asked for, who signed, how far it is, who is left out."""
    with connected() as api:
        campaign = api.get(f"{_PATH}/{campaign_id}")
        lines = list(api.each(f"{_PATH}/{campaign_id}/tablets")) if tablets else []
    if as_json:
        show_json(campaign | ({"tablets_list": lines} if tablets else {}))
        return
    print_campaign(campaign, lines)


@app.command()
def approve(
    campaign_id: _Id,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: _Json = False,
) -> None:
    """Sign a bulk wipe for the board or for a contractor, with the key on this machine (`tabane key new`).

    What is signed is made here, of the list that is shown here: a server that shows one thing gets no signature for
    another.
    """
    with connected() as api:
        me = api.get("/api/v1/session")["name"]
        key_id = own_key(api)
        campaign = api.get(f"{_PATH}/{campaign_id}")
        tablets = list(api.each(f"{_PATH}/{campaign_id}/tablets"))
        # What it says of its tablets is made anew of their list.
        said = {"tablets": len(tablets), "snapshot": manifest.snapshot(tablets).hex()}
        subject = campaign["subject"] | said
        if not yes:
            print_signed(campaign, subject, tablets)
            typer.confirm("Sign this?", abort=True, err=True)
        key = keyfile.unlock(read_password(passphrase_file, prompt="Passphrase of the approver key"))
        digest = signing.digest(
            manifest.ACTION,
            subject,
            reason=campaign["reason"],
            requested_by=campaign["requested_by_id"],
            expires_at=campaign["expires_at"],
        )
        signature = key.sign(signing.challenge(digest, approver=me, urgent=False))
        body = {"key": key_id, "signature": signing.encoded(signature)}
        _show(api.post(f"{_PATH}/{campaign_id}/approve", body), as_json=as_json)


@app.command()
def pause(campaign_id: _Id, *, reason: _Why = "", as_json: _Json = False) -> None:
    """Stop a bulk wipe at once; what no tablet has been handed is held back."""
    _act(campaign_id, "pause", {"reason": reason}, as_json=as_json)


@app.command()
def resume(campaign_id: _Id, *, as_json: _Json = False) -> None:
    """Let a paused bulk wipe go on; its failures have been looked at."""
    _act(campaign_id, "resume", None, as_json=as_json)


@app.command()
def abort(campaign_id: _Id, *, reason: _Why = "", as_json: _Json = False) -> None:
    """End a bulk wipe for good; what no tablet has been handed is cancelled."""
    _act(campaign_id, "abort", {"reason": reason}, as_json=as_json)


def _act(campaign_id: str, verb: str, body: dict[str, Any] | None, *, as_json: bool) -> None:
    with connected() as api:
        _show(api.post(f"{_PATH}/{campaign_id}/{verb}", body), as_json=as_json)


@app.command()
def report(
    campaign_id: _Id, *, out: Annotated[Path | None, typer.Option(help="A file; standard output if absent.")] = None
) -> None:
    """Write what became of each tablet as CSV, for the certificates of erasure."""
    with connected() as api:
        body = api.download(f"{_PATH}/{campaign_id}/report.csv")
    if write_out(body, out):
        print(f"wrote {out}")


def _show(campaign: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(campaign)
    else:
        print_line(campaign)
