"""`tabane sims account`: contracts with carriers, by the operator API. A secret is a file on the server."""

import json
from typing import Annotated, Any

import typer

from mdm.cli.client import connected, fail, show_json

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
    for field, value in account.items():
        plain = value if isinstance(value, (str, int)) else json.dumps(value, ensure_ascii=False)
        print(f"{field:<18} {plain}")


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
    as_json: _Json = False,
) -> None:
    """Add an account."""
    fields = _fields(base_url, secret_name, option, cycle_day, billing_tz, usage_tz)
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
    enabled: Annotated[bool | None, typer.Option("--on/--off", help="Poll it, or leave it alone.")] = None,
    as_json: _Json = False,
) -> None:
    """Change an account; what is left out stays."""
    fields = _fields(base_url, secret_name, option, cycle_day, billing_tz, usage_tz)
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
    names = ("base_url", "secret_name", "options", "cycle_anchor_day", "billing_tz", "usage_tz")
    fields = {name: value for name, value in zip(names, given, strict=True) if value is not None}
    if "options" in fields:
        pairs = [each.partition("=") for each in fields["options"]]
        if any(not separator for _, separator, _ in pairs):
            fail("--option is NAME=VALUE", code=2)
        fields["options"] = {name: value for name, _, value in pairs}
    return fields
