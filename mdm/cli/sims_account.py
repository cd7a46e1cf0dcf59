"""`tabane sims account`: contracts with carriers, by the operator API. A secret is a file on the server."""

import json
from typing import Annotated, Any

import typer

from mdm.cli.client import connected, fail, show_json
from mdm.cli.sim_text import day

app = typer.Typer(no_args_is_help=True, help="Carrier accounts.")
_PATH = "/api/v1/carriers/accounts"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Options = Annotated[
    list[str] | None, typer.Option("--option", help="NAME=VALUE, such as operator_id=OP01. Nothing secret.")
]
_Address = Annotated[str | None, typer.Option("--base-url")]
_File = Annotated[str | None, typer.Option("--secret-name", help="The name of a file in the server's secrets folder.")]
_Anchor = Annotated[int | None, typer.Option("--cycle-day", min=1, max=31, help="The day a cycle begins.")]
_Billing = Annotated[str | None, typer.Option("--billing-tz")]
_Pace = Annotated[
    float | None,
    typer.Option("--calls-per-s", min=0.01, help="What the contract allows, if it is not the usual."),
]
_Usage = Annotated[str | None, typer.Option("--usage-tz", help="The time zone of its figures' day.")]


@app.command("list")
def list_(*, as_json: _Json = False) -> None:
    """List the accounts."""
    with connected() as api:
        found = api.get(_PATH)
    if as_json:
        show_json(found)
        return
    for account in found:
        off = "" if account["enabled"] else "  (off)"
        zone = f"days of {account['usage_tz']}, cycle from {account['cycle_anchor_day']}"
        print(f"{account['name']:<20} {account['kind']:<16} {account['sims']:>7,} SIMs  {zone}{off}")


@app.command()
def show(name: str, *, as_json: _Json = False) -> None:
    """Show one account."""
    with connected() as api:
        account = api.get(f"{_PATH}/{name}")
    if as_json:
        show_json(account)
        return
    asked = account.pop("polling")
    for field, value in account.items():
        plain = value if isinstance(value, (str, int)) else json.dumps(value, ensure_ascii=False)
        print(f"{field:<18} {plain}")
    for each in asked:
        trouble = f"  failed {each['failures']} times: {each['error']}" if each["error"] else ""
        print(f"asked for {each['job']:<12} last {day(each['finished_at'])}, next {day(each['due_at'])}{trouble}")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, hyphens.")],
    kind: Annotated[str, typer.Argument(help="soracom, control_center, icms, csv.")],
    *,
    base_url: _Address = None,
    secret_name: _File = None,
    option: _Options = None,
    cycle_day: _Anchor = None,
    billing_tz: _Billing = None,
    usage_tz: _Usage = None,
    calls_per_s: _Pace = None,
    as_json: _Json = False,
) -> None:
    """Add an account."""
    fields = _fields(base_url, secret_name, option, cycle_day, billing_tz, usage_tz, calls_per_s)
    with connected() as api:
        account = api.post(_PATH, {"name": name, "kind": kind, **fields})
    if as_json:
        show_json(account)
    else:
        print(f"Added {account['name']} ({account['kind']}).")


@app.command("set")
def set_(
    name: str,
    *,
    base_url: _Address = None,
    secret_name: _File = None,
    option: _Options = None,
    cycle_day: _Anchor = None,
    billing_tz: _Billing = None,
    usage_tz: _Usage = None,
    calls_per_s: _Pace = None,
    enabled: Annotated[bool | None, typer.Option("--on/--off", help="Poll it, or leave it alone.")] = None,
    as_json: _Json = False,
) -> None:
    """Change an account; what is left out stays."""
    fields = _fields(base_url, secret_name, option, cycle_day, billing_tz, usage_tz, calls_per_s)
    fields |= {} if enabled is None else {"enabled": enabled}
    if not fields:
        fail("say what is to change", code=2)
    with connected() as api:
        account = api.patch(f"{_PATH}/{name}", fields)
    if as_json:
        show_json(account)
    else:
        print(f"Changed {account['name']}.")


def _fields(*given: Any) -> dict[str, Any]:
    names = ("base_url", "secret_name", "options", "cycle_anchor_day", "billing_tz", "usage_tz", "limits")
    fields = {name: value for name, value in zip(names, given, strict=True) if value is not None}
    if "limits" in fields:
        fields["limits"] = {"calls_per_s": fields["limits"]}
    if "options" in fields:
        pairs = [each.partition("=") for each in fields["options"]]
        if any(not separator for _, separator, _ in pairs):
            fail("--option is NAME=VALUE", code=2)
        fields["options"] = {name: value for name, _, value in pairs}
    return fields
