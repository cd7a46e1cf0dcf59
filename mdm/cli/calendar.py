"""`tabane calendar`: class hours and closed days of the district and of schools, by the API."""

from datetime import date
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from mdm.cli.client import connected, fail, show_json
from mdm.organization.hours import WEEKDAYS, fiscal_year

app = typer.Typer(no_args_is_help=True, help="When schools have lessons and on which days they are closed.")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_School = Annotated[str | None, typer.Option("--school", help="A school's code; the district's calendar when absent.")]
_TYPES = {".csv": "text/csv", ".yaml": "application/yaml", ".yml": "application/yaml"}


@app.command()
def show(*, school: _School = None, as_json: _Json = False) -> None:
    """Show what holds for the district or for a school."""
    with connected() as api:
        found = api.get(_path(school))
    if as_json:
        show_json(found)
    else:
        _print(found)


@app.command("set")
def set_(
    *,
    school: _School = None,
    hours: Annotated[
        list[str] | None, typer.Option(help="`mon-fri 08:15-12:00 13:00-15:45`; may be repeated. Replaces all hours.")
    ] = None,
    closed: Annotated[
        list[str] | None,
        typer.Option(help="`2026-07-21..2026-08-31 LABEL` or one day; may be repeated. Replaces all closed days."),
    ] = None,
    nothing: Annotated[bool, typer.Option("--nothing", help="Take everything back that was set here.")] = False,
    as_json: _Json = False,
) -> None:
    """Set class hours, closed days or both; what is not named stays as it is. `import` takes a whole file."""
    if nothing == bool(hours or closed):
        fail("give --hours, --closed or both; or --nothing alone", code=2)
    with connected() as api:
        if nothing:
            api.delete(_path(school))
            found = api.get(_path(school))
        else:
            body = api.get(_path(school))["written"] or {}
            body |= {"class_hours": dict(map(_hours, hours))} if hours else {}
            body |= {"closed": [_closed(each) for each in closed]} if closed else {}
            found = api.put(_path(school), body)
    if as_json:
        show_json(found)
    else:
        _print(found)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .yaml or .csv file.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: _Json = False,
) -> None:
    """Replace the calendars that a file names, all or none; errors name their lines."""
    kind = _TYPES.get(file.suffix.lower())
    if kind is None:
        fail(f"{file} must be a .yaml or a .csv file", code=2)
    try:
        content = file.read_bytes()
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")
    with connected() as api:
        found = api.upload("/api/v1/calendar/imports", content, content_type=kind, dry_run=dry_run)
    if as_json:
        show_json(found)
        return
    for each in found:
        print(
            f"{each['school']:<12} {'would change' if dry_run else 'set'}"
            if each["changed"]
            else f"{each['school']:<12} as it was"
        )


def _path(school: str | None) -> str:
    return "/api/v1/calendar" if school is None else f"/api/v1/schools/{quote(school, safe='')}/calendar"


def _hours(text: str) -> tuple[str, list[str]]:
    day, *spans = text.split()
    return day, spans


def _closed(text: str) -> dict[str, str]:
    days, _, label = text.strip().partition(" ")
    first, _, last = days.partition("..")
    return {"first": first, "label": label.strip()} | ({"last": last} if last else {})


def _print(found: dict[str, Any]) -> None:
    own = "" if found["written"] else " (nothing of its own)" if found["school"] != "district" else " (nothing set)"
    print(f"{found['school']}{own}")
    hours = found["holds"]["class_hours"] or {}
    for day in WEEKDAYS:
        print(f"  {day}  {'  '.join(hours.get(day, [])) or '-'}")
    year = None
    for each in found["holds"]["closed"]:
        begins = fiscal_year(date.fromisoformat(each["first"]))
        if begins != year:
            print(f"  closed in fiscal {begins} (from April):")
            year = begins
        last = "" if each["last"] in (None, each["first"]) else f" to {each['last']}"
        print(f"    {each['first']}{last}  {each['label']}")
    if found["schools"]:
        print(f"  schools with their own: {', '.join(found['schools'])}")
