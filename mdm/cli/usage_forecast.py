"""`tabane usage forecast|scores|backtest`: what cycles will come to, and how good that was, by the operator API."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from mdm.cli.client import connected, show_json
from mdm.cli.sim_text import gigabytes, one

app = typer.Typer()
_PATH = "/api/v1/usage/forecasts"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_HEAD = (
    f"{'':<8}{'day':>4}{'forecasts':>11}{'off':>8}{'too high':>10}{'inside':>8}{'straight on':>13}{'last cycle':>12}"
)


@app.command()
def forecast(
    which: Annotated[
        str | None, typer.Argument(metavar="[SIM]", help="One line: a control number, a number, #ID.")
    ] = None,
    *,
    as_json: _Json = False,
) -> None:
    """Show what the fleet, pools and schools will have used when their cycle ends, or one line."""
    with connected() as api:
        found = api.get(_PATH) if which is None else [api.get(f"{_PATH}/sims/{one(api, which)['id']}")]
    if as_json:
        show_json(found)
        return
    for each in found:
        allowance = each["allowance_bytes"]
        share = "" if not allowance else f"  {each['p50'] / allowance:.0%} of {gigabytes(allowance)}"
        print(
            f"{each['scope']:<7} {each['name'] or '':<24} {gigabytes(each['p50']):>14}"
            f"  ({gigabytes(each['p10'])} to {gigabytes(each['p90'])}; {gigabytes(each['used_bytes'])} so far){share}"
        )


@app.command()
def scores(*, months: Annotated[int, typer.Option(min=1, max=36)] = 6, as_json: _Json = False) -> None:
    """Show how good the forecasts were that were made, by the day of the cycle they were made on."""
    with connected() as api:
        _show(api.get(f"{_PATH}/scores", months=months), as_json=as_json)


@app.command()
def backtest(
    *,
    cycles: Annotated[int, typer.Option(min=1, max=12, help="So many cycles that are over.")] = 3,
    day: Annotated[list[int] | None, typer.Option("--day", help="Days of the cycle; 5, 10 and 20.")] = None,
    as_json: _Json = False,
) -> None:
    """Forecast past cycles of the ledger anew and compare with what they came to, beside two simple ways."""
    with connected() as api:
        _show(api.get(f"{_PATH}/backtest", cycles=cycles, day=day), as_json=as_json)


def _show(found: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    print(_HEAD)
    for each in found:
        simple = [each["run_rate"], each["last_cycle"]]
        straight, last = ("-" if part is None else f"{part:.1%}" for part in simple)
        print(
            f"{each['scope']:<8}{each['day']:>4}{each['forecasts']:>11,}{each['error']:>8.1%}{each['bias']:>+10.1%}"
            f"{each['inside']:>8.0%}{straight:>13}{last:>12}"
        )
