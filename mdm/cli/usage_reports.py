"""`tabane usage report|top|idle|pools|show`: what lines used and what they cost, by the operator API. No names."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mdm.cli.client import connected, fail, show_json, write_out
from mdm.cli.sim_text import WHICH, day, gigabytes, one

app = typer.Typer()
_PATH = "/api/v1/usage"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_School = Annotated[str | None, typer.Option("--school", help="The code of a school.")]


@app.command()
def report(
    *,
    first: Annotated[str | None, typer.Option("--from", help="The first month, 2026-11; this one when absent.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last month; the first when absent.")] = None,
    school: _School = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A file; .xlsx makes a workbook, else CSV.")] = None,
    english: Annotated[bool, typer.Option("--english", help="English headers in the file.")] = False,
    as_json: _Json = False,
) -> None:
    """Show cost and usage by school and month, or write them into a file."""
    months = {"from": first, "to": last, "school": school}
    with connected() as api:
        if out is not None:
            form = "xlsx" if out.suffix.lower() == ".xlsx" else "csv"
            body = api.download(f"{_PATH}/report/file", format=form, english=english, **months)
            write_out(body, out, private=True)
            print(f"Wrote {out}.")
            return
        found = api.get(f"{_PATH}/report", **months)
    if as_json:
        show_json(found)
        return
    print(f"{'month':<8}{'school':<10}{'lines':>8}{'used':>8}{'GB':>14}{'billed':>14}{'not billed':>14}{'yen':>16}")
    for each in found:
        open_yen = sum(float(each[name]) for name in ("plan_yen", "overage_yen", "extra_yen"))
        print(
            f"{each['month']:<8}{each['school_code'] or '-':<10}{each['lines']:>8,}{each['used_lines']:>8,}"
            f"{gigabytes(each['bytes_total']):>14}{float(each['billed_yen']):>14,.0f}{open_yen:>14,.0f}"
            f"{float(each['total_yen']):>16,.2f}"
        )
    unpriced = sum(each["unpriced_lines"] for each in found)
    if unpriced:
        print(f"{unpriced:,} lines have neither a bill nor a price. `tabane sims plan set` gives a plan its price.")


@app.command()
def top(
    *,
    month: Annotated[str | None, typer.Option("--month", help="2026-11; this month when absent.")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, max=92, help="Instead: the last days.")] = None,
    school: _School = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500)] = 50,
    as_json: _Json = False,
) -> None:
    """Show the lines that used most, by control number. Names are opened one at a time elsewhere, on record."""
    if month and days:
        fail("give --month or --days", code=2)
    with connected() as api:
        found = api.get(f"{_PATH}/top", month=month, days=days, school=school, limit=limit)
    if as_json:
        show_json(found)
        return
    for place, each in enumerate(found, 1):
        where = f"{each['control_number'] or '-':<14} {each['school_code'] or '-':<10}"
        before = f"({gigabytes(each['bytes_before'])} in as many days before)"
        print(f"{place:>4}  #{each['sim_id']:<7} {where} {gigabytes(each['bytes_total']):>12}  {before}")


@app.command()
def idle(
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=400, help="Nothing used for so long.")] = 30,
    school: _School = None,
    as_json: _Json = False,
) -> None:
    """Show active lines that are not used, and what they cost in a cycle."""
    with connected() as api:
        found = list(api.each(f"{_PATH}/idle", days=days, school=school, limit=500))
    if as_json:
        show_json(found)
        return
    for each in found:
        where = f"{each['control_number'] or '-':<14} {each['device_state'] or '-':<9} {each['school_code'] or '-':<10}"
        print(f"#{each['sim_id']:<7} {where} {each['plan'] or '-':<14} last used {each['last_used_on'] or 'never'}")
    cost = sum(float(each["price_yen"] or 0) for each in found)
    print(f"{len(found):,} lines, {cost:,.0f} yen in a cycle")


@app.command()
def pools(*, as_json: _Json = False) -> None:
    """Show what pools used so far in their cycle, what they may, and what is forecast."""
    with connected() as api:
        found = api.get(f"{_PATH}/pools")
    if as_json:
        show_json(found)
        return
    for each in found:
        print(_pool(each))


@app.command()
def show(
    which: Annotated[str, typer.Argument(metavar="SIM", help=WHICH)],
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=400)] = 35,
    as_json: _Json = False,
) -> None:
    """Show one line's days and billing cycles, with the source that is shown."""
    with connected() as api:
        found = api.get(f"{_PATH}/sims/{one(api, which)['id']}", days=days)
    if as_json:
        show_json(found)
        return
    print(f"#{found['sim_id']} in {found['control_number'] or 'no tablet'}, {found['account']}, {found['plan'] or '-'}")
    for each in found["cycles"]:
        state = f"closed {day(each['closed_at'])}" if each["closed_at"] else "open"
        cost = "" if each["billed_yen"] is None else f", {each['billed_yen']} yen"
        late = f", {each['late_bytes']:+,} bytes since" if each["late_bytes"] else ""
        used = f"{each['bytes_total']:>18,} bytes  {each['source'] or '-'}"
        print(f"cycle {each['cycle_start']}  {used} ({state}{cost}{late})")
    for each in found["days"]:
        zone = "" if each["utc_offset"] == 540 else "  (a day in UTC)" if each["utc_offset"] == 0 else "  (another day)"
        print(f"  {each['day']}    {each['bytes_total']:>18,} bytes  {each['source']}{zone}")


def _pool(each: dict[str, Any]) -> str:
    allowance = each["allowance_bytes"]
    share = "" if not allowance else f" ({each['used_bytes'] / allowance:.0%})"
    ahead = "" if each["p50"] is None else f", forecast {gigabytes(each['p50'])}, at most {gigabytes(each['p90'])}"
    may = "no limit" if allowance is None else gigabytes(allowance)
    name = f"{each['account']}/{each['name']}"
    used = gigabytes(each["used_bytes"])
    return f"{name:<24} {each['sims']:>7,} SIMs  {used} of {may}{share} since {each['cycle_start']}{ahead}"
