"""`tabane sims pool` and `tabane sims plan`: lines that share, and the terms of rate plans, by the operator API."""

from typing import Annotated, Any

import typer

from mdm.cli.client import Client, connected, fail, show_json
from mdm.cli.sim_text import PATH, WHICH, day, gigabytes, one

app = typer.Typer(no_args_is_help=True, help="Pools of lines that share their allowances.")
plans = typer.Typer(no_args_is_help=True, help="Rate plans and their terms in time.")
_POOLS = "/api/v1/pools"
_PLANS = "/api/v1/plans"
_GB = 10**9
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Pool = Annotated[str, typer.Argument(metavar="POOL", help="Its name, or account/name.")]
_Effective = Annotated[
    str, typer.Option("--effective", help="next_cycle, now, or an instant such as 2026-12-01T00:00+09:00.")
]


@app.command("list")
def list_(*, as_json: _Json = False) -> None:
    """List the pools with what they may use in the present cycle."""
    with connected() as api:
        found = api.get(_POOLS)
    if as_json:
        show_json(found)
        return
    for pool in found:
        print(_row(pool))


@app.command()
def show(name: _Pool, *, as_json: _Json = False) -> None:
    """Show one pool. `tabane sims list --pool NAME` lists its lines."""
    with connected() as api:
        pool = _one(api, name)
    if as_json:
        show_json(pool)
    else:
        print(_row(pool))


@app.command()
def add(
    account: Annotated[str, typer.Argument(help="A carrier account.")],
    name: Annotated[str, typer.Argument(help="The pool's name with the carrier.")],
    *,
    gb: Annotated[
        float | None, typer.Option("--gb", min=0, help="A fixed allowance per cycle; else the sum of its plans.")
    ] = None,
    overage: Annotated[str, typer.Option("--overage", help="throttle, charge, block, none.")] = "throttle",
    throttle_bps: Annotated[int | None, typer.Option("--throttle-bps", min=0)] = None,
    as_json: _Json = False,
) -> None:
    """Add an empty pool."""
    body = {"account": account, "name": name, "overage": overage, "throttle_bps": throttle_bps}
    body |= {"allowance_bytes": None if gb is None else round(gb * _GB)}
    with connected() as api:
        pool = api.post(_POOLS, body)
    if as_json:
        show_json(pool)
    else:
        print(_row(pool))


@app.command()
def move(
    name: _Pool,
    which: Annotated[list[str] | None, typer.Argument(metavar="[SIM]...", help=WHICH)] = None,
    *,
    plan: Annotated[str | None, typer.Option("--plan", help="All lines of this plan.")] = None,
    leave: Annotated[bool, typer.Option("--leave", help="Take them out instead.")] = False,
    effective: _Effective = "next_cycle",
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with it.")],
    as_json: _Json = False,
) -> None:
    """Put lines into a pool, or take them out, when the next cycle begins unless said otherwise."""
    if bool(which) == bool(plan):
        fail("name the SIMs, or --plan", code=2)
    with connected() as api:
        pool = _one(api, name)
        named = [one(api, each) for each in which or ()]
        sims = named or list(api.each(PATH, plan=plan, account=pool["account"]))
        if not sims:
            fail("there are no such SIMs")
        body = {"sim_ids": [sim["id"] for sim in sims], "leave": leave, "effective": effective, "reason": reason}
        moved = api.post(f"{_POOLS}/{pool['id']}/members", body)
    if as_json:
        show_json(moved)
    else:
        print(f"{moved['moved']:,} lines from {day(moved['effective'])} on; {moved['unchanged']:,} unchanged.")


@app.command()
def extra(
    name: _Pool,
    gb: Annotated[float, typer.Argument(min=0.001, help="Bought on top for the present cycle.")],
    *,
    price_yen: Annotated[str | None, typer.Option("--yen")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with it.")],
    as_json: _Json = False,
) -> None:
    """Note capacity that was bought for the present cycle. Buys nothing itself."""
    with connected() as api:
        body = {"bytes": round(gb * _GB), "price_yen": price_yen, "reason": reason}
        pool = api.post(f"{_POOLS}/{_one(api, name)['id']}/extra", body)
    if as_json:
        show_json(pool)
    else:
        print(_row(pool))


@plans.command("list")
def list_plans(*, account: Annotated[str | None, typer.Option("--account")] = None, as_json: _Json = False) -> None:
    """List the rate plans with their terms, the newest first."""
    with connected() as api:
        found = api.get(_PLANS, account=account)
    if as_json:
        show_json(found)
        return
    for plan in found:
        print(f"{plan['account']}/{plan['code']:<20} {plan['sims']:>7,} SIMs  {plan['name']}")
        for terms in plan["versions"] or ():
            until = "further notice" if terms["valid_to"] is None else day(terms["valid_to"])
            price = "" if terms["price_yen"] is None else f", {terms['price_yen']} yen"
            size = "no limit" if terms["allowance_bytes"] is None else gigabytes(terms["allowance_bytes"])
            print(f"  {day(terms['valid_from'])} to {until}: {size}{price}, then {terms['overage']}")


@plans.command("set")
def set_plan(
    account: Annotated[str, typer.Argument(help="A carrier account.")],
    code: Annotated[str, typer.Argument(help="The plan as the carrier calls it; added when it is new.")],
    *,
    gb: Annotated[float | None, typer.Option("--gb", min=0, help="Per line and cycle; no limit when absent.")] = None,
    daily_gb: Annotated[float | None, typer.Option("--daily-gb", min=0, help="Slowed above this in a day.")] = None,
    unit_base: Annotated[int, typer.Option("--unit-base", help="1000 or 1024: the carrier's kilobyte.")] = 1000,
    overage: Annotated[str, typer.Option("--overage", help="throttle, charge, block, none.")] = "none",
    throttle_bps: Annotated[int | None, typer.Option("--throttle-bps", min=0)] = None,
    price_yen: Annotated[str | None, typer.Option("--yen", help="Per line and cycle, without tax.")] = None,
    effective: _Effective = "next_cycle",
    as_json: _Json = False,
) -> None:
    """Give a plan new terms; those before end where these begin, and are kept. A GB is 10^9 bytes here."""
    body: dict[str, Any] = {"unit_base": unit_base, "overage": overage, "throttle_bps": throttle_bps}
    body |= {"price_yen": price_yen, "effective": effective}
    body |= {"allowance_bytes": None if gb is None else round(gb * _GB)}
    body |= {"daily_bytes": None if daily_gb is None else round(daily_gb * _GB)}
    with connected() as api:
        known = [plan for plan in api.get(_PLANS, account=account) if plan["code"] == code]
        plan = known[0] if known else api.post(_PLANS, {"account": account, "code": code})
        terms = api.post(f"{_PLANS}/{plan['id']}/terms", body)
    if as_json:
        show_json(terms)
    else:
        print(f"{account}/{code}: from {day(terms['valid_from'])} on")


def _one(api: Client, name: str) -> dict[str, Any]:
    found = [pool for pool in api.get(_POOLS) if name in (pool["name"], f"{pool['account']}/{pool['name']}")]
    if not found:
        fail(f"there is no pool {name}")
    if len(found) > 1:
        fail(f"several accounts have a pool {name}; write account/name")
    return dict(found[0])


def _row(pool: dict[str, Any]) -> str:
    moving = f" (+{pool['joining']:,} −{pool['leaving']:,})" if pool["joining"] or pool["leaving"] else ""  # noqa: RUF001
    size = gigabytes(pool["allowance_bytes"]) + (", some lines without limit" if pool["unlimited"] else "")
    return f"{pool['account']}/{pool['name']:<20} {pool['sims']:>7,} SIMs{moving}  {size}, then {pool['overage']}"
