"""`tabane usage import`: files of usage and bills, by the operator API."""

import sys
import time
from typing import Annotated, Any

import typer

from mdm.cli.client import connected, pieces, show_json

app = typer.Typer()
_SHOWN = 20
_HOUR = 3600.0
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="A CSV file in UTF-8 or CP932; - is standard input.")],
    *,
    account: Annotated[str, typer.Option("--account", help="The carrier account whose lines they are.")],
    bill: Annotated[bool, typer.Option("--bill", help="It is a bill: closes the cycle of each line.")] = False,
    header: Annotated[
        list[str] | None, typer.Option("--map", help="HEADER:column, for a header that is not known. Remembered.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option("--unit", help="bytes, kb, mb, gb or tb, where the file does not say. Remembered.")
    ] = None,
    base: Annotated[int | None, typer.Option("--base", help="1000 or 1024 of one unit are one of the next.")] = None,
    dates: Annotated[str | None, typer.Option("--dates", help="ymd, mdy or dmy. Remembered.")] = None,
    grain: Annotated[str | None, typer.Option("--grain", help="day or month. Remembered.")] = None,
    month: Annotated[str | None, typer.Option("--month", help="2026-11, if the file has no such column.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")] = False,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Import the right lines.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Even if this very file went in before.")] = False,
    as_json: _Json = False,
) -> None:
    """Import a file of usage by day or month, or a bill: all of it or, when a line is wrong, nothing."""
    started = time.monotonic()
    how = {"unit": unit, "base": base, "dates": dates, "grain": grain, "month": month}
    flags = {"dry_run": dry_run, "skip_bad_rows": skip_bad_rows, "again": again}
    with connected() as api:
        report = api.upload(
            "/api/v1/usage/imports",
            pieces(file),
            content_type="text/csv",
            timeout=_HOUR,
            account=account,
            kind="bill" if bill else "usage",
            map=header or None,
            report_faults=True,
            **how,
            **flags,
        )
    refused = bool(report["errors"]) and not skip_bad_rows
    if as_json:
        show_json(report)
    else:
        _show_report(report)
        print(_summary(report, refused=refused, dry_run=dry_run, seconds=time.monotonic() - started))
    if refused:
        raise typer.Exit(1)


def _show_report(report: dict[str, Any]) -> None:
    for note in report["notices"][:_SHOWN]:
        print(f"line {note['line']:<7} {note['level']}: {note['reason']}")
    for fault in report["faults"][:_SHOWN]:
        print(f"line {fault['line']:<7} error: {fault['reason']}", file=sys.stderr)
    if report["errors"] > _SHOWN:
        print(f"... and {report['errors'] - _SHOWN:,} more lines are wrong", file=sys.stderr)
    if report["ignored"]:
        print(f"Passed over: {', '.join(report['ignored'])}")
    names = ("new", "changed", "unchanged", "adjusted", "errors")
    print(" ".join(f"{name:>10}" for name in names))
    print(" ".join(f"{report[name]:>10,}" for name in names))


def _summary(report: dict[str, Any], *, refused: bool, dry_run: bool, seconds: float) -> str:
    if report["known"]:
        return "This very file went in before; nothing was done. --again imports it all the same."
    if refused:
        return f"Nothing was imported: {report['errors']:,} lines are wrong. Mend them, or use --skip-bad-rows."
    if dry_run:
        return "Dry run: nothing was written."
    moving = report["new"] + report["changed"] + report["adjusted"]
    lines = moving + report["unchanged"]
    if not moving:
        return "Nothing changed."
    return f"Imported {moving:,} of {lines:,} lines in {seconds:.1f} s ({lines / max(seconds, 0.001):,.0f} lines/s)."
