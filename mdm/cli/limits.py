"""`tabane limits`: show and set how fast the fleet is woken and fed, through the operator API."""

import json
from typing import Annotated, Any

import typer

from mdm.cli.client import Client, connected, fail, show_json

app = typer.Typer(no_args_is_help=True, help="Limits of throughput.")
_PATH = "/api/v1/limits"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_School = Annotated[str | None, typer.Option("--school", help="A school's code: its own limit instead of everybody's.")]


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="One limit only.")] = None,
    *,
    school: _School = None,
    history: Annotated[bool, typer.Option("--history", help="Every value that was set, newest first.")] = False,
    as_json: _Json = False,
) -> None:
    """Show the limits that hold, who set them and when; with --history, what they were."""
    with connected() as api:
        found = [
            line
            for line in api.get(_PATH)
            if name in (None, line["name"]) and (school is None or line["school"] == school)
        ]
        if history:
            found = _history(api, name, school, found)
        elif name is not None and not found:
            fail("there is no such limit" if school is None else "this school has no such limit of its own")
    if as_json:
        show_json(found)
        return
    for line in found:
        _print(line)


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="fleet, provider.apple, school, school.bytes, device, urgent, …")],
    value: Annotated[
        str, typer.Argument(help="A number (0: no limit), JSON such as '{\"bands\": {…}}', or `default`.")
    ],
    *,
    burst: Annotated[int | None, typer.Option(help="How many at once; stays as it is when left out.")] = None,
    school: _School = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the value.")] = "",
    as_json: _Json = False,
) -> None:
    """Set a limit. It holds in every worker within two seconds."""
    body = {"value": _value(name, value, burst), "school": school, "reason": reason}
    with connected() as api:
        line = api.put(f"{_PATH}/{name}", body)
    if as_json:
        show_json(line)
    else:
        _print(line)


def _history(api: Client, name: str | None, school: str | None, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = {(line["name"], line["school"]) for line in found} if name is None else {(name, school)}
    lines = [
        line for one, where in sorted(wanted, key=str) for line in api.each(f"{_PATH}/{one}/history", school=where)
    ]
    return sorted(lines, key=lambda line: str(line["set_at"]), reverse=True)


_MAIN_PART = {"school.bytes": "bands", "school.downloads": "at_once", "gate.gb": "gb", "pool.gb": "gb"}
"""Which part of a value a bare number is; of every other limit it is `per_s`."""


def _value(name: str, given: str, burst: int | None) -> dict[str, Any] | None:
    """Make the API's value of what was typed."""
    if given == "default":
        return None
    try:
        number = json.loads(given)
    except ValueError:
        fail(f"not a number, JSON, or `default`: {given}", code=2)
    part = _MAIN_PART.get(name, "per_s")
    plain = {part: {"else": number} if part == "bands" else number}
    value = number if isinstance(number, dict) else plain
    return value if burst is None else {**value, "burst": burst}


def _print(line: dict[str, Any]) -> None:
    where = f" of {line['school']}" if line["school"] else ""
    who = f"{line['set_by'].removeprefix('operator:')}, {line['set_at'][:19]}Z" if line["set_at"] else "first value"
    why = f": {line['reason']}" if line["reason"] else ""
    print(f"{line['name'] + where:<28} {_words(line['value']):<40} ({who}{why})")


def _words(value: dict[str, Any] | None) -> str:
    match value:
        case None:
            return "taken back"
        case {"per_s": rate, "burst": burst}:
            return f"{rate:g}/s, {burst:,} at once" if rate else "no limit"
        case {"bands": bands}:
            parts = [f"{band} {rate:,.0f} bytes/s" if rate else f"{band} no limit" for band, rate in bands.items()]
            return "; ".join(parts) or "no limit"
        case {"at_once": number, "big_from_bytes": size}:
            return f"{number} at once from {size:,} bytes" if number else "no limit"
        case {"gb": gb}:
            return f"{gb:g} GB"
        case _:
            return "none"
