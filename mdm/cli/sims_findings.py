"""`tabane sims findings`: what does not fit together between ledger, carriers and tablets, by the operator API."""

from typing import Annotated, Any

import typer

from mdm.cli.client import connected, show_json
from mdm.cli.sim_text import PATH, day

app = typer.Typer(no_args_is_help=True, help="What does not fit: swapped SIMs, foreign SIMs, use where none should be.")
_PATH = f"{PATH}/findings"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Which = Annotated[int, typer.Argument(metavar="ID", help="The number of a finding.")]


@app.command("list")
def list_(
    *,
    kind: Annotated[str | None, typer.Option("--kind", help="Such as swapped_pair, in_foreign_device.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="suspected, open, closed, gone; else what is not over.")
    ] = None,
    severity: Annotated[str | None, typer.Option("--severity", help="high, normal, low.")] = None,
    school: Annotated[str | None, typer.Option("--school", help="The code of the tablet's school.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop after so many.")] = None,
    as_json: _Json = False,
) -> None:
    """List findings, newest first; all filters that are given must fit."""
    filters = {"kind": kind, "state": state, "severity": severity, "school": school, "limit": min(limit or 500, 500)}
    found: list[dict[str, Any]] = []
    with connected() as api:
        for finding in api.each(_PATH, **filters):
            found.append(finding)
            if len(found) == limit:
                break
    if as_json:
        show_json(found)
        return
    for finding in found:
        print(_row(finding))
    print(f"{len(found):,} findings")


@app.command()
def show(which: _Which, *, as_json: _Json = False) -> None:
    """Show one finding with what is known of it."""
    with connected() as api:
        finding = api.get(f"{_PATH}/{which}")
    if as_json:
        show_json(finding)
        return
    print(_row(finding))
    print(f"seen {finding['times']} times, from {day(finding['first_at'])} to {day(finding['last_at'])}")
    for name, value in finding["details"].items():
        print(f"{name:<20} {value}")
    if finding["closed_at"] is not None:
        said = f" by {finding['closed_by']}: {finding['close_reason']}" if finding["closed_by"] else ""
        print(f"{finding['state']} {day(finding['closed_at'])}{said}")


@app.command()
def close(
    which: _Which,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with it. No names.")],
    quiet_days: Annotated[
        int, typer.Option("--quiet-days", min=0, max=365, help="So long the same thing is not raised again.")
    ] = 7,
    as_json: _Json = False,
) -> None:
    """Close a finding. It changes nothing else."""
    with connected() as api:
        finding = api.post(f"{_PATH}/{which}/closing", {"reason": reason, "quiet_days": quiet_days})
    if as_json:
        show_json(finding)
    else:
        print(_row(finding))


@app.command()
def fix(
    which: _Which,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the bindings. No names.")],
    as_json: _Json = False,
) -> None:
    """Mend the ledger as the finding says: exchange a swapped pair, or bind a SIM where it is in fact."""
    with connected() as api:
        finding = api.post(f"{_PATH}/{which}/fix", {"reason": reason})
    if as_json:
        show_json(finding)
    else:
        print(f"{_row(finding)}: {finding['close_reason']}")


def _row(finding: dict[str, Any]) -> str:
    tablets = " and ".join(each for each in (finding["control_number"], finding["other_control_number"]) if each)
    where = tablets or (finding["school_code"] or "-")
    line = "" if finding["sim_id"] is None else f"SIM #{finding['sim_id']}"
    cells = f"{finding['severity']:<7} {finding['state']:<10} {where:<18} {line:<12}"
    return f"#{finding['id']:<6} {cells} {finding['title']}"
