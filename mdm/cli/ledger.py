"""`tabane ledger`: import, export, and an invented sample. Import and export go through the operator API."""

import csv
import io
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mdm.cli.client import Client, connected, fail, show_json, write_out
from mdm.cli.progress import bar
from mdm.devices import csvfile, sample
from mdm.devices.ledger_columns import ADDED_TO_BAD_ROWS

app = typer.Typer(no_args_is_help=True, help="The ledger of tablets.")
_IMPORTS = "/api/v1/ledger/imports"
_SHOWN = 20
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="A CSV file in UTF-8 or CP932; - is standard input.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")] = False,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Import the right lines and write the wrong ones to a file.")
    ] = False,
    bad_rows: Annotated[
        Path | None, typer.Option("--bad-rows", help="Where the wrong lines go; FILE.bad.csv when not given.")
    ] = None,
    as_json: _Json = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before writing.")] = False,
) -> None:
    """Import a ledger file: all of it or, when a line is wrong, nothing. A second import of it changes nothing.

    A column that is not in the file leaves its field as it is; an empty cell clears it. Nothing is ever deleted.
    """
    content = _read(file)
    started = time.monotonic()
    ask = not (yes or dry_run or as_json or file == "-") and sys.stdin.isatty()
    with connected() as api:
        report = _send(api, "compare" if ask or dry_run else "import", content, dry_run or ask, skip_bad_rows)
        shown = ask and _can_go_in(report, skip_bad_rows) and bool(report["new"] or report["changed"])
        if shown:
            _show(report)
            typer.confirm("Import this?", abort=True, err=True)
            started = time.monotonic()
            report = _send(api, "import", content, False, skip_bad_rows)
    refused = not _can_go_in(report, skip_bad_rows)
    if skip_bad_rows and report["errors"]:
        _write_bad_rows(content, report["faults"], bad_rows or _beside(file))
    if as_json:
        show_json(report)
    else:
        if not shown:
            _show(report)
        print(_summary(report, refused=refused, dry_run=dry_run, seconds=time.monotonic() - started))
    if refused:
        raise typer.Exit(1)


@app.command("sample")
def sample_(
    *,
    tablets: Annotated[int, typer.Option("--tablets", "-n", min=1, max=200_000)] = 15_000,
    schools: Annotated[
        int | None, typer.Option("--schools", min=1, max=2000, help="40 for 15,000 tablets when not given.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same district.")] = 1,
    encoding: Annotated[str, typer.Option("--encoding", help="utf-8 or cp932.")] = "utf-8",
    headers: Annotated[str, typer.Option("--headers", help="ja or en.")] = "ja",
) -> None:
    """Write the ledger of an invented district to standard output. Nobody in it exists."""
    if encoding not in ("utf-8", "cp932"):
        fail("--encoding is utf-8 or cp932", code=2)
    if headers not in ("ja", "en"):
        fail("--headers is ja or en", code=2)
    try:
        for line in sample.lines(tablets, schools=schools, seed=seed, japanese=headers == "ja"):
            sys.stdout.buffer.write(line.encode(encoding))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Whoever reads has had enough; the interpreter must not try to flush again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command()
def export(
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A file; standard output when not given.")] = None,
    english: Annotated[bool, typer.Option("--english", help="English headers.")] = False,
) -> None:
    """Export the ledger as CSV that can be imported again and that no spreadsheet executes. Names stay inside."""
    with connected() as api:
        body = api.download("/api/v1/ledger/export", english=english)
    if write_out(body, out):
        tablets = body.count(b"\r\n") - 1
        print(f"Wrote {tablets:,} tablets to {out}.")


def _can_go_in(report: dict[str, Any], skip_bad_rows: bool) -> bool:
    return skip_bad_rows or not report["errors"]


def _read(file: str) -> bytes:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(csvfile.MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(csvfile.MAX_BYTES + 1)
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")
    if len(content) > csvfile.MAX_BYTES:
        fail(f"{file} is larger than {csvfile.MAX_BYTES // 1024 // 1024} MiB")
    if not content:
        fail(f"{'standard input' if file == '-' else file} is empty")
    return content


def _send(api: Client, what: str, content: bytes, dry_run: bool, skip_bad_rows: bool) -> dict[str, Any]:
    total = content.count(b"\n")
    with bar(what, total) as advance:
        report: dict[str, Any] = api.upload(
            _IMPORTS,
            content,
            content_type="text/csv",
            dry_run=dry_run,
            skip_bad_rows=skip_bad_rows,
            report_faults=True,
            max_faults=csvfile.MAX_ROWS if skip_bad_rows else None,
        )
        advance(total)
    return report


def _show(report: dict[str, Any]) -> None:
    for line in report["lines"][:_SHOWN]:
        changes = "; ".join(f"{each['field']} '{each['old']}' → '{each['new']}'" for each in line["changes"])
        print(f"line {line['line']:<7} {line['control_number']:<16} {line['outcome']:<9} {changes}".rstrip())
    more = report["new"] + report["changed"] - min(len(report["lines"]), _SHOWN)
    if more > 0:
        print(f"... and {more:,} more")
    for notice in report["notices"][:_SHOWN]:
        print(f"line {notice['line']:<7} {notice['level']}: {notice['reason']}")
    if len(report["notices"]) > _SHOWN:
        print(f"... and {len(report['notices']) - _SHOWN:,} more such notes")
    for fault in report["faults"][:_SHOWN]:
        print(f"line {fault['line']:<7} error: {fault['reason']}", file=sys.stderr)
    if report["errors"] > _SHOWN:
        print(f"... and {report['errors'] - _SHOWN:,} more lines are wrong", file=sys.stderr)
    print(f"{'new':>10} {'changed':>10} {'unchanged':>10} {'errors':>10}")
    print(f"{report['new']:>10,} {report['changed']:>10,} {report['unchanged']:>10,} {report['errors']:>10,}")


def _summary(report: dict[str, Any], *, refused: bool, dry_run: bool, seconds: float) -> str:
    moving = report["new"] + report["changed"]
    if refused:
        return f"Nothing was imported: {report['errors']:,} lines are wrong. Mend them, or use --skip-bad-rows."
    if not moving:
        return "Nothing changed."
    if dry_run:
        return "Dry run: nothing was written."
    lines = moving + report["unchanged"]
    return f"Imported {moving:,} of {lines:,} lines in {seconds:.1f} s ({lines / max(seconds, 0.001):,.0f} lines/s)."


def _beside(file: str) -> Path:
    return Path("ledger.bad.csv") if file == "-" else Path(file).with_suffix(".bad.csv")


def _write_bad_rows(content: bytes, faults: list[dict[str, Any]], target: Path) -> None:
    """Write the wrong rows as they stood, with line and reason, readable by their owner only: names are in them."""
    reasons = {fault["line"]: fault["reason"] for fault in faults}
    try:
        with os.fdopen(
            os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8-sig", newline=""
        ) as stream:
            writer = csv.writer(stream)
            for place, (line, cells) in enumerate(csvfile.read_raw(io.BytesIO(content))):
                if place == 0:
                    writer.writerow([*cells, *ADDED_TO_BAD_ROWS])
                elif line in reasons:
                    writer.writerow([*cells, line, reasons[line]])
    except OSError as error:
        fail(f"cannot write {target}: {error.strerror}")
    print(f"Wrote {len(reasons):,} wrong lines to {target}.", file=sys.stderr)
