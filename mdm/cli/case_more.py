"""The rest of `tabane case`: broken and late tablets, papers, the desk's settings; added to the command of cases."""

import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from mdm.cli.case import Footnote, Json, Message, Number, Phone, act, app
from mdm.cli.client import connected, fail, show_json, write_out

_PAPERS = {
    "timeline-csv": "timeline.csv",
    "timeline-html": "timeline.html",
    "report": "incident-report",
    "report-csv": "incident-report.csv",
    "report-html": "incident-report.html",
}


@app.command()
def swap(
    case: Number,
    control_number: Annotated[str | None, typer.Argument(help="The spare's control number.")] = None,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Give the holder the first tablet back.")] = False,
    as_json: Json = False,
) -> None:
    """Hand out a spare of the same school: its holder moves to it in the ledger. Or undo that."""
    if undo:
        act(case, "swap/undo", as_json=as_json)
    elif control_number is None:
        fail("say which spare, by its control number")
    else:
        act(case, "swap", {"control_number": control_number}, as_json=as_json)


@app.command()
def repair(
    case: Number,
    *,
    order: Annotated[str | None, typer.Option("--order", help="The order's number.")] = None,
    vendor: Annotated[str | None, typer.Option("--vendor", help="The company.")] = None,
    on: Annotated[str | None, typer.Option("--on", help="The day, 2026-04-01; today when left out.")] = None,
    back: Annotated[bool, typer.Option("--back", help="The tablet is back.")] = False,
    as_json: Json = False,
) -> None:
    """Note that the tablet went to a repairer, or that it is back."""
    day = on or date.today().isoformat()  # noqa: DTZ011 - the day here, where the parcel is
    if back:
        act(case, "repairs/back", {"back_on": day}, as_json=as_json)
        return
    if order is None or vendor is None:
        fail("say the order's number and the company: --order, --vendor")
    with connected() as api:
        body = {"order_number": order, "vendor": vendor, "sent_on": day}
        answer = api.post(f"/api/v1/cases/{case}/repairs", body)
    if as_json:
        show_json(answer)
    else:
        print(f"Case {case}: {answer['case']['state']}")
        print(f"  {answer['advice']}")


@app.command()
def remind(case: Number, *, as_json: Json = False) -> None:
    """Note that the holder of a late tablet was reminded."""
    act(case, "reminders", as_json=as_json)


@app.command()
def lost(
    case: Number,
    *,
    stolen: Annotated[bool, typer.Option("--stolen")] = False,
    message: Message = None,
    phone: Phone = None,
    footnote: Footnote = None,
    as_json: Json = False,
) -> None:
    """A late tablet turns out to be lost or stolen: lock it at once."""
    text = {"message": message, "phone_number": phone, "footnote": footnote}
    body: dict[str, Any] = {name: value for name, value in text.items() if value is not None}
    act(case, "lost", body | {"kind": "stolen" if stolen else "lost"}, once=True, as_json=as_json)


@app.command()
def export(
    case: Number,
    paper: Annotated[str, typer.Argument(help=", ".join(_PAPERS))] = "timeline-csv",
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; else standard output.")] = None,
) -> None:
    """Write a case on paper: the timeline or the written report. Each export is on record."""
    if paper not in _PAPERS:
        fail(f"there is {', '.join(_PAPERS)}")
    with connected() as api:
        content = api.download(f"/api/v1/cases/{case}/{_PAPERS[paper]}")
    if write_out(content, output):
        print(f"Wrote {output}.")


@app.command()
def settings(
    name: Annotated[str | None, typer.Argument(help="hours.lost, hours.stolen, …, lost_text, contact.")] = None,
    value: Annotated[
        str | None, typer.Argument(help='Hours, or JSON such as \'{"message": "…"}\', or `default`.')
    ] = None,
    *,
    school: Annotated[str | None, typer.Option("--school", help="A school's code, for its own value.")] = None,
    as_json: Json = False,
) -> None:
    """Show how long cases may take and what a locked tablet shows; or set one of these."""
    with connected() as api:
        if name is not None and value is not None:
            body = {"value": _value(value), "school": school}
            found = [api.put(f"/api/v1/desk-settings/{name}", body)]
        else:
            found = [line for line in api.get("/api/v1/desk-settings") if name in (None, line["name"])]
    if as_json:
        show_json(found)
        return
    for line in found:
        whose = line["school"] or "everybody"
        print(f"{line['name']:<22} {whose:<10} {json.dumps(line['value'], ensure_ascii=False)}")


def _value(text: str) -> dict[str, Any] | None:
    if text == "default":
        return None
    if text.isdecimal():
        return {"hours": int(text)}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        fail("a number of hours, a JSON object, or `default`")
    return found
