"""`tabane sims`: the inventory of SIMs, by the operator API. Holders do not appear."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mdm.cli import sims_account, sims_act, sims_findings, sims_pool
from mdm.cli.client import connected, pieces, show_json, write_out
from mdm.cli.sim_text import PATH, WHICH, day, device_id, one, row, status_of

app = typer.Typer(no_args_is_help=True, help="SIMs: inventory, tablets, pools, carrier accounts.")
app.add_typer(sims_pool.app, name="pool")
app.add_typer(sims_pool.plans, name="plan")
app.add_typer(sims_account.app, name="account")
app.add_typer(sims_act.app)
app.add_typer(sims_findings.app, name="findings")
_SHOWN = 20
_HOUR = 3600.0
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why; kept with it. No names.")]
_Since = Annotated[
    str | None, typer.Option("--since", help="If it is told later than it was done: 2026-11-20T09:00+09:00.")
]
_Which = Annotated[str, typer.Argument(metavar="SIM", help=WHICH)]


@app.command("list")
def list_(
    *,
    q: Annotated[
        str | None, typer.Option("--search", "-q", help="Start of an ICCID, telephone number, IMSI or control number.")
    ] = None,
    account: Annotated[str | None, typer.Option("--account")] = None,
    school: Annotated[str | None, typer.Option("--school", help="The code of the tablet's school.")] = None,
    plan: Annotated[str | None, typer.Option("--plan")] = None,
    pool: Annotated[str | None, typer.Option("--pool")] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="unknown, stock, active, standby, suspended, terminated.")
    ] = None,
    bound: Annotated[bool | None, typer.Option("--bound/--free", help="In a tablet, or in none.")] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Left out of the carrier's own list.")] = False,
    unsettled: Annotated[bool, typer.Option("--unsettled", help="Not yet what was asked for.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop after so many.")] = None,
    as_json: _Json = False,
) -> None:
    """List SIMs; all filters that are given must fit."""
    filters: dict[str, Any] = {"q": q, "account": account, "school": school, "plan": plan, "pool": pool}
    filters |= {"status": status, "bound": _flag(bound), "limit": min(limit or 500, 500)}
    filters |= {"missing": "true" if missing else None, "unsettled": "true" if unsettled else None}
    found: list[dict[str, Any]] = []
    with connected() as api:
        for sim in api.each(PATH, **filters):
            found.append(sim)
            if len(found) == limit:
                break
    if as_json:
        show_json(found)
        return
    for sim in found:
        print(row(sim))
    print(f"{len(found):,} SIMs")


@app.command()
def show(which: _Which, *, as_json: _Json = False) -> None:
    """Show one SIM, the tablets it was in and its pools."""
    with connected() as api:
        sim = api.get(f"{PATH}/{one(api, which)['id']}")
    if as_json:
        show_json(sim)
    else:
        _print(sim)


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="A CSV file in UTF-8 or CP932; - is standard input.")],
    *,
    account: Annotated[str, typer.Option("--account", help="The carrier account whose lines they are.")],
    header: Annotated[
        list[str] | None, typer.Option("--map", help="HEADER:column, for a header that is not known. Remembered.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")] = False,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Import the right lines.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="It names every SIM: mark the others missing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Even if this very file went in before.")] = False,
    as_json: _Json = False,
) -> None:
    """Import a SIM file: all of it or, when a line is wrong, nothing. Nothing is ever removed."""
    started = time.monotonic()
    flags = {"dry_run": dry_run, "skip_bad_rows": skip_bad_rows, "whole": whole, "again": again}
    with connected() as api:
        report = api.upload(
            f"{PATH}/imports",
            pieces(file),
            content_type="text/csv",
            timeout=_HOUR,
            account=account,
            map=header or None,
            report_faults=True,
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


@app.command()
def export(
    *,
    account: Annotated[str | None, typer.Option("--account")] = None,
    school: Annotated[str | None, typer.Option("--school")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A file; standard output when not given.")] = None,
    english: Annotated[bool, typer.Option("--english", help="English headers.")] = False,
) -> None:
    """Export SIMs as CSV that can be imported again and that no spreadsheet executes."""
    with connected() as api:
        body = api.download(f"{PATH}/export", account=account, school=school, english=english)
    if write_out(body, out, private=True):  # numbers of lines are in it
        lines = body.count(b"\r\n") - 1
        print(f"Wrote {lines:,} SIMs to {out}.")


@app.command()
def bind(
    which: _Which,
    tablet: Annotated[str, typer.Argument(help="A control number.")],
    *,
    reason: _Reason,
    since: _Since = None,
    as_json: _Json = False,
) -> None:
    """Note that a SIM is in a tablet. What is in the way is not removed: unbind it first, or exchange."""
    with connected() as api:
        body = {"device_id": device_id(api, tablet), "reason": reason, "since": since}
        sim = api.post(f"{PATH}/{one(api, which)['id']}/binding", body)
    if as_json:
        show_json(sim)
    else:
        print(row(sim))


@app.command()
def unbind(which: _Which, *, reason: _Reason, since: _Since = None, as_json: _Json = False) -> None:
    """Note that a SIM is in no tablet any more. Nothing is asked of the carrier."""
    with connected() as api:
        over = api.post(f"{PATH}/{one(api, which)['id']}/unbinding", {"reason": reason, "since": since})
    if as_json:
        show_json(over)
    else:
        print(f"It was in {over['control_number']} from {day(over['valid_from'])} to {day(over['valid_to'])}.")


@app.command()
def exchange(
    tablet: Annotated[str, typer.Argument(help="A control number.")],
    other: Annotated[str, typer.Argument(help="Another control number.")],
    *,
    reason: _Reason,
    hand_over: Annotated[
        bool, typer.Option("--hand-over", help="The other one has no SIM and takes this one's.")
    ] = False,
    since: _Since = None,
    as_json: _Json = False,
) -> None:
    """Note that the SIMs of two tablets changed places, or that a spare took over the SIM of another tablet."""
    with connected() as api:
        body = {"device_id": device_id(api, tablet), "other_device_id": device_id(api, other), "reason": reason}
        sims = api.post(f"{PATH}/exchanges", body | {"hand_over": hand_over, "since": since})
    if as_json:
        show_json(sims)
        return
    for sim in sims:
        print(row(sim))


def _flag(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


def _print(sim: dict[str, Any]) -> None:
    lines = {
        "SIM": f"#{sim['id']}",
        "ICCID": sim["iccid"],
        "telephone number": sim["msisdn"],
        "IMSI": sim["imsi"],
        "EID": sim["eid"],
        "account": sim["account"],
        "plan": sim["plan"],
        "status": f"{status_of(sim)} ({sim['carrier_status'] or 'the carrier has said nothing'})",
        "tablet": sim["control_number"],
        "seen in radio": sim["imei_seen"],
        "last online": None if sim["last_online_at"] is None else day(sim["last_online_at"]),
    }
    for name, value in lines.items():
        print(f"{name:<18} {value or '-'}")
    for each in sim["bindings"]:
        until = "now" if each["valid_to"] is None else day(each["valid_to"])
        print(
            f"in {each['control_number']:<15} {day(each['valid_from'])} to {until} ({each['source']}: {each['reason']})"
        )
    for each in sim["memberships"]:
        until = "further notice" if each["valid_to"] is None else day(each["valid_to"])
        print(f"pool {each['pool']:<13} {day(each['valid_from'])} to {until}")


def _show_report(report: dict[str, Any]) -> None:
    for line in report["lines"][:_SHOWN]:
        changes = "; ".join(f"{each['field']} '{each['old']}' → '{each['new']}'" for each in line["changes"])
        which = "" if line["sim_id"] is None else f"#{line['sim_id']}"
        print(f"line {line['line']:<7} {which:<9} {line['outcome']:<9} {changes}".rstrip())
    more = report["new"] + report["changed"] - min(len(report["lines"]), _SHOWN)
    if more > 0:
        print(f"... and {more:,} more")
    for note in report["notices"][:_SHOWN]:
        print(f"line {note['line']:<7} {note['level']}: {note['reason']}")
    for fault in report["faults"][:_SHOWN]:
        print(f"line {fault['line']:<7} error: {fault['reason']}", file=sys.stderr)
    if report["errors"] > _SHOWN:
        print(f"... and {report['errors'] - _SHOWN:,} more lines are wrong", file=sys.stderr)
    if report["ignored"]:
        print(f"Passed over: {', '.join(report['ignored'])}")
    names = ("new", "changed", "unchanged", "errors", "absent", "bound")
    print(" ".join(f"{name:>10}" for name in names))
    print(" ".join(f"{report[name]:>10,}" for name in names))


def _summary(report: dict[str, Any], *, refused: bool, dry_run: bool, seconds: float) -> str:
    if report["known"]:
        return "This very file went in before; nothing was done. --again imports it all the same."
    if refused:
        return f"Nothing was imported: {report['errors']:,} lines are wrong. Mend them, or use --skip-bad-rows."
    if dry_run:
        return "Dry run: nothing was written."
    moving = report["new"] + report["changed"]
    if not moving:
        return "Nothing changed."
    lines = moving + report["unchanged"]
    return f"Imported {moving:,} of {lines:,} lines in {seconds:.1f} s ({lines / max(seconds, 0.001):,.0f} lines/s)."
