"""`tabane check`: whereabouts checks (所在確認), by the API. Holds no rule of its own."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mdm.cli.check_text import outcomes, print_check, print_progress, summary, task_words
from mdm.cli.client import connected, fail, show_json, write_out

app = typer.Typer(no_args_is_help=True, help="Whereabouts checks: is every tablet still where it should be?")
_PATH = "/api/v1/checks"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="The check's id, as `plan` and `list` print it.")]
_School = Annotated[str | None, typer.Option("--school", help="A school's code.")]
_First = Annotated[str, typer.Option("--from", help="The first day, as 2026-04-13.")]
_Last = Annotated[str, typer.Option("--to", help="The last day: the deadline.")]


@app.command()
def plan(
    name: Annotated[str, typer.Argument(help="Such as 所在確認 1学期; no names of persons.")],
    *,
    first: _First,
    last: _Last,
    school: Annotated[list[str] | None, typer.Option(help="May be repeated; every school of yours if absent.")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="Ledger states to verify, may be repeated; stock and issued if absent.")
    ] = None,
    by_hand: Annotated[
        list[str] | None, typer.Option(help="States for which a check-in does not do; stock (spares) if absent.")
    ] = None,
    checkin_days: Annotated[int | None, typer.Option(help="Check-ins count from so many days before on.")] = None,
    silent_days: Annotated[int | None, typer.Option(help="Silent for so long: to be looked at by hand.")] = None,
    remind_before: Annotated[int | None, typer.Option(help="Remind schools so many days before the last.")] = None,
    school_after: Annotated[int | None, typer.Option(help="Tell schools so many days after the last.")] = None,
    board_after: Annotated[int | None, typer.Option(help="Tell the board so many days after the last.")] = None,
    repeats: Annotated[str | None, typer.Option(help="never, termly or yearly.")] = None,
    as_json: _Json = False,
) -> None:
    """Plan a check. It starts by itself on its first day; `start` starts it now."""
    deadlines = _given(remind_before=remind_before, school_after=school_after, board_after=board_after)
    body = _given(
        name=name,
        first_day=first,
        last_day=last,
        schools=school or None,
        states=state or None,
        by_hand=by_hand or None,
        checkin_days=checkin_days,
        silent_days=silent_days,
        repeats=repeats,
        deadlines=deadlines or None,
    )
    with connected() as api:
        _show(api.post(_PATH, body), as_json=as_json)


@app.command("list")
def list_(
    *,
    state: Annotated[str | None, typer.Option(help="planned, running, closed or cancelled.")] = None,
    year: Annotated[int | None, typer.Option(help="The fiscal year, named by the April it begins in.")] = None,
    as_json: _Json = False,
) -> None:
    """List the checks, newest first."""
    with connected() as api:
        found = list(api.each(_PATH, state=state, fiscal_year=year))
    if as_json:
        show_json(found)
        return
    for each in found:
        print(summary(each))


@app.command()
def show(check_id: _Id, *, school: _School = None, as_json: _Json = False) -> None:
    """Show a check and how far each school is; with --school, how far each of its classes is."""
    with connected() as api:
        check = api.get(f"{_PATH}/{check_id}")
        progress = api.get(f"{_PATH}/{check_id}/progress", school=school)
    if as_json:
        show_json(check | {"progress": progress})
        return
    print_check(check)
    print_progress(progress)


@app.command()
def start(check_id: _Id, *, as_json: _Json = False) -> None:
    """Start a planned check now: its list of tablets stands from then on."""
    _act(check_id, "start", as_json=as_json)


@app.command()
def cancel(check_id: _Id, *, as_json: _Json = False) -> None:
    """Give up a check that has not begun; with it ends its rhythm."""
    _act(check_id, "cancel", as_json=as_json)


@app.command()
def close(check_id: _Id, *, as_json: _Json = False) -> None:
    """Close a check: no more evidence, and its report stays as it is."""
    _act(check_id, "close", as_json=as_json)


@app.command()
def copy(
    check_id: _Id,
    *,
    first: _First,
    last: _Last,
    name: Annotated[str | None, typer.Option(help="The same as before if absent.")] = None,
    as_json: _Json = False,
) -> None:
    """Plan the same check on other days."""
    with connected() as api:
        body = _given(first_day=first, last_day=last, name=name)
        _show(api.post(f"{_PATH}/{check_id}/copies", body), as_json=as_json)


@app.command()
def scan(
    check_id: _Id,
    numbers: Annotated[list[str] | None, typer.Argument(help="Control numbers as they were scanned.")] = None,
    *,
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="A scanner's list or CSV; - is standard input.")
    ] = None,
    school: Annotated[str | None, typer.Option("--school", help="Where they were scanned.")] = None,
    as_json: _Json = False,
) -> None:
    """Take scanned control numbers as evidence. What is not as it should be is told line by line, with status 1."""
    if bool(numbers) == (file is not None):
        fail("give control numbers or --file", code=2)
    with connected() as api:
        if file is None:
            taken = api.post(f"{_PATH}/{check_id}/scans", {"control_numbers": numbers, "school": school})
        else:
            path = f"{_PATH}/{check_id}/scans/file"
            taken = api.upload(path, _read(file), content_type="text/csv", school=school)
    _show_taken(taken, as_json=as_json)


@app.command()
def confirm(
    check_id: _Id,
    numbers: Annotated[list[str], typer.Argument(help="Control numbers of tablets of your schools.")],
    *,
    as_json: _Json = False,
) -> None:
    """Give your word that tablets are there; it is on record under your name."""
    with connected() as api:
        taken = api.post(f"{_PATH}/{check_id}/confirmations", {"control_numbers": numbers})
    _show_taken(taken, as_json=as_json)


@app.command()
def unverified(check_id: _Id, *, school: _School = None, as_json: _Json = False) -> None:
    """List the tablets that nothing has verified, with their last contact."""
    with connected() as api:
        report = api.get(f"{_PATH}/{check_id}/report", school=school)
    if as_json:
        show_json(report)
        return
    for line in report["unverified"]:
        print(task_words(line))
    total = sum(each["counts"]["unverified"] for each in report["schools"])
    listed = sum(each["counts"]["listed"] for each in report["schools"])
    print(f"{total:,} of {listed:,} tablets are not verified.")


@app.command()
def export(
    check_id: _Id,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A file; standard output when not given.")] = None,
    form: Annotated[str, typer.Option("--format", help="csv, or html to print.")] = "csv",
    lang: Annotated[str, typer.Option("--lang", help="ja or en.")] = "ja",
    school: _School = None,
) -> None:
    """Export the report of the unverified: CSV that no spreadsheet executes, or a page to print."""
    if form not in ("csv", "html"):
        fail("--format is csv or html", code=2)
    with connected() as api:
        body = api.download(f"{_PATH}/{check_id}/report.{form}", lang=lang, school=school)
    if write_out(body, out):
        print(f"Wrote {len(body):,} bytes to {out}.")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _act(check_id: str, what: str, *, as_json: bool) -> None:
    with connected() as api:
        _show(api.post(f"{_PATH}/{check_id}/{what}"), as_json=as_json)


def _show(check: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(check)
    else:
        print_check(check)


def _show_taken(taken: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(taken)
    else:
        for line in outcomes(taken):
            print(line)
    if not set(taken["counts"]) <= {"verified", "again", "repeated"} or any(line["reason"] for line in taken["lines"]):
        raise typer.Exit(1)


def _read(file: str) -> bytes:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")
    if not content:
        fail(f"{'standard input' if file == '-' else file} is empty")
    return content
