"""`tabane device`: search the ledger and show one tablet, through the operator API. Names stay masked."""

from typing import Annotated, Any

import typer

from mdm.cli.client import Client, connected, fail, show_json

app = typer.Typer(no_args_is_help=True, help="Tablets in the ledger.")
_PATH = "/api/v1/devices"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(
    *,
    q: Annotated[
        str | None, typer.Option("--search", "-q", help="Start of a control number, serial, user id, IMEI or ICCID.")
    ] = None,
    school: Annotated[str | None, typer.Option("--school", help="A school code.")] = None,
    year: Annotated[int | None, typer.Option("--year", min=1, max=12)] = None,
    class_name: Annotated[str | None, typer.Option("--class")] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="stock, issued, lost, repair, returned, retired.")
    ] = None,
    enrollment: Annotated[str | None, typer.Option("--enrollment", help="absent, pending, active, ended.")] = None,
    verification: Annotated[
        str | None, typer.Option("--verification", help="asked, verified, healing, drifted, unsupported.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop after so many.")] = None,
    as_json: _Json = False,
) -> None:
    """List tablets by control number; all filters that are given must fit."""
    filters: dict[str, Any] = {"q": q, "school": school, "year": year, "class": class_name}
    filters |= {"state": state, "enrollment": enrollment, "verification": verification}
    filters["limit"] = min(limit or 500, 500)
    found: list[dict[str, Any]] = []
    with connected() as api:
        for device in api.each(_PATH, **filters):
            found.append(device)
            if len(found) == limit:
                break
    if as_json:
        show_json(found)
        return
    for device in found:
        holder = device["holder"] or {"user_id": "-"}
        columns = (device["control_number"], device["serial"], device["school_code"], holder["user_id"])
        wide = "  ".join(f"{column:<14}" for column in columns)
        print(f"{wide}  {device['state']:<9} {device['enrollment']['status']}")
    print(f"{len(found):,} tablets")


@app.command()
def show(
    control_number: Annotated[str | None, typer.Argument(help="The tablet control number.")] = None,
    *,
    serial: Annotated[str | None, typer.Option("--serial")] = None,
    as_json: _Json = False,
) -> None:
    """Show one tablet, by control number or --serial."""
    if (control_number is None) == (serial is None):
        fail("give either a control number or --serial", code=2)
    with connected() as api:
        device = _one(api, control_number=control_number, serial=serial)
        document = api.get(f"{_PATH}/{device['id']}")
    if as_json:
        show_json(document)
        return
    for name, value in _lines(document):
        print(f"{name:<16} {value}")


@app.command()
def state(
    control_number: Annotated[str, typer.Argument(help="The tablet control number.")],
    new: Annotated[str, typer.Argument(metavar="STATE", help="stock, issued, lost, repair, returned, retired.")],
    *,
    as_json: _Json = False,
) -> None:
    """Set where a tablet stands in the ledger. A lost or retired one stays managed, and is not let in anew."""
    with connected() as api:
        device = _one(api, control_number=control_number)
        document = api.patch(f"{_PATH}/{device['id']}", {"state": new})
    if as_json:
        show_json(document)
    else:
        print(f"{document['control_number']}: {document['state']}")


def _one(api: Client, **which: str | None) -> dict[str, Any]:
    items: list[dict[str, Any]] = api.get(_PATH, **which)["items"]
    if not items:
        fail("there is no such tablet")
    return items[0]


def _lines(device: dict[str, Any]) -> list[tuple[str, Any]]:
    enrollment, holder = device["enrollment"], device["holder"]
    plain = ("control_number", "serial", "platform", "model", "imei", "iccid", "lease_contract", "state")
    lines = [(name.replace("_", " "), device[name] or "-") for name in plain]
    lines.append(("school", f"{device['school_code']} {device['school_name']}"))
    if holder is not None:
        of_class = f" ({holder['year']}-{holder['class_name']})" if holder["year"] else ""
        lines.append(("holder", f"{holder['user_id']}{of_class} {holder['name']}"))
    lines.append(("enrolment", enrollment["status"]))
    lines += [(name.replace("_", " "), enrollment[name]) for name in ("epoch", "supervised", "os_version", "lost_mode")]
    lines += [(name.replace("_", " "), enrollment[name] or "-") for name in ("enrolled_at", "last_seen_at")]
    lines.append(("policy", "installed" if enrollment["up_to_date"] else "not all installed"))
    again = f", handed over again {device['healed_at']}" if device["healed_at"] else ""
    lines.append(("proof", f"{enrollment['verification'] or '-'}{again}"))
    lines += [
        (finding["what"], " ".join(filter(None, (finding["identifier"], finding["key"]))))
        for finding in device["findings"]
    ]
    lines += [(f"report {report['kind']}", report["received_at"]) for report in device["reports"]]
    return lines
