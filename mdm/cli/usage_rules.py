"""`tabane usage rules` and `tabane usage alerts`: from when on use is acted on, and what was, by the operator API."""

from typing import Annotated, Any

import typer

from mdm.cli.client import connected, fail, show_json
from mdm.cli.sim_text import day, gigabytes

app = typer.Typer(no_args_is_help=True, help="From when on use is acted on.")
alerts = typer.Typer()
_PATH = "/api/v1/usage"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Gb = Annotated[float | None, typer.Option("--gb", min=0.001, help="The limit in GB of 10^9.")]
_Percent = Annotated[int | None, typer.Option("--percent", min=1, help="The limit as a part of the allowance.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the rule. No names.")]
_AfterDays = Annotated[int | None, typer.Option("--after-days", min=0, help="So long after a lower level fired.")]
_Automatic = Annotated[
    bool | None, typer.Option("--automatic/--by-hand", help="Ask the carrier without a person's word.")
]


@app.command("list")
def list_(*, as_json: _Json = False) -> None:
    """List the rules by subject, what is compared, and level."""
    with connected() as api:
        found = api.get(f"{_PATH}/rules")
    if as_json:
        show_json(found)
        return
    for rule in found:
        print(_row(rule))


@app.command()
def add(
    scope: Annotated[str, typer.Argument(help="sim, pool, school, fleet.")],
    metric: Annotated[str, typer.Argument(help="used, day, forecast, forecast_high.")],
    act: Annotated[str, typer.Argument(help="note, tell_tablet, tell_school, warn, page, restrict.")],
    *,
    level: Annotated[int, typer.Option("--level", min=1, max=9, help="Its place among the stages.")],
    gb: _Gb = None,
    percent: _Percent = None,
    of: Annotated[
        int | None, typer.Option("--of", help="The id of one line, pool or school; else each of them.")
    ] = None,
    after_days: _AfterDays = None,
    automatic: _Automatic = None,
    speed: Annotated[str | None, typer.Option("--speed", help="The carrier's speed class for it.")] = None,
    reason: _Reason = "",
    as_json: _Json = False,
) -> None:
    """Add a rule; what is above its limit already fires within minutes."""
    body: dict[str, Any] = {"scope": scope, "scope_id": of, "metric": metric, "act": act, "level": level}
    body |= _limit(gb, percent) | {"after_days": after_days, "automatic": bool(automatic), "speed": speed}
    with connected() as api:
        rule = api.post(f"{_PATH}/rules", {**body, "reason": reason})
    _show(rule, as_json=as_json)


@app.command("set")
def set_(
    rule: Annotated[int, typer.Argument(help="Its number in the list.")],
    *,
    gb: _Gb = None,
    percent: _Percent = None,
    act: Annotated[str | None, typer.Option("--act", help="What is done.")] = None,
    after_days: _AfterDays = None,
    automatic: _Automatic = None,
    active: Annotated[bool | None, typer.Option("--on/--off", help="Whether it is looked at.")] = None,
    reason: _Reason = "",
    as_json: _Json = False,
) -> None:
    """Change a rule; what is not named stays. What fired in this cycle does not fire again."""
    with connected() as api:
        known = next((each for each in api.get(f"{_PATH}/rules") if each["id"] == rule), None)
        if known is None:
            fail("there is no such rule")
        body = {name: value for name, value in known.items() if name not in ("id", "set_by", "set_at")}
        body |= _limit(gb, percent) if gb is not None or percent is not None else {}
        given = {"act": act, "after_days": after_days, "automatic": automatic, "active": active}
        body |= {name: value for name, value in given.items() if value is not None} | {"reason": reason}
        changed = api.put(f"{_PATH}/rules/{rule}", body)
    _show(changed, as_json=as_json)


@alerts.command("alerts")
def list_alerts(
    *,
    school: Annotated[str | None, typer.Option("--school", help="A school's code.")] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that wait for a person.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    as_json: _Json = False,
) -> None:
    """List limits that were passed, newest first, with what was done."""
    with connected() as api:
        found = api.get(f"{_PATH}/alerts", school=school, waiting=waiting, limit=limit)["items"]
    if as_json:
        show_json(found)
        return
    for alert in found:
        what = alert["pool"] or alert["control_number"] or alert["school"] or f"{alert['scope']}:{alert['scope_id']}"
        print(
            f"#{alert['id']:<7} {day(alert['fired_at'])}  {what:<20} {alert['metric']}"
            f" {gigabytes(alert['value_bytes'])} of {gigabytes(alert['limit_bytes'])}:"
            f" {alert['action']}, {alert['done']}"
        )
        if alert["note"]:
            print(f"{'':9}{alert['note']}")


@alerts.command()
def settle(
    alert: Annotated[int, typer.Argument(help="Its number in `tabane usage alerts --waiting`.")],
    done: Annotated[str, typer.Argument(help="What was done about it. No names.")],
) -> None:
    """Settle an alert that waits for a person."""
    with connected() as api:
        api.post(f"{_PATH}/alerts/{alert}/settle", {"done": done})
    print(f"#{alert}: {done}")


@alerts.command()
def restrict(
    alert: Annotated[int, typer.Argument(help="Its number in `tabane usage alerts --waiting`.")],
    *,
    speed: Annotated[str | None, typer.Option("--speed", help="The carrier's class; else the rule's.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the act. No names.")],
) -> None:
    """Ask the line's carrier to slow it until the cycle is over."""
    with connected() as api:
        done = api.post(f"{_PATH}/alerts/{alert}/restrict", {"reason": reason, "speed": speed})
    print(f"#{alert}: {done['done']}")


def _limit(gb: float | None, percent: int | None) -> dict[str, Any]:
    return {"limit_bytes": None if gb is None else round(gb * 10**9), "limit_percent": percent}


def _show(rule: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(rule)
    else:
        print(_row(rule))


def _row(rule: dict[str, Any]) -> str:
    limit = gigabytes(rule["limit_bytes"]) if rule["limit_percent"] is None else f"{rule['limit_percent']}%"
    whose = "" if rule["scope_id"] is None else f" {rule['scope_id']}"
    more = "" if rule["after_days"] is None else f", {rule['after_days']} days after the level below"
    more += ", at once" if rule["automatic"] else ""
    off = "" if rule["active"] else "  (off)"
    what = f"{rule['scope']}{whose} {rule['metric']} level {rule['level']}"
    return f"#{rule['id']:<4} {what} at {limit}: {rule['act']}{more}{off}"
