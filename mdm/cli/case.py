"""`tabane case`: the support desk's cases of lost, stolen, broken and late tablets, through the operator API."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from mdm.cli.case_text import print_case, print_line
from mdm.cli.client import connected, fail, show_json

app = typer.Typer(no_args_is_help=True, help="Cases of lost, stolen, broken and late tablets.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Number = Annotated[int, typer.Argument(metavar="CASE", help="The case's number.")]
Message = Annotated[str | None, typer.Option("--message", help="Shown on the tablet; else the desk's own text.")]
Phone = Annotated[str | None, typer.Option("--phone", help="A number to call, shown on the tablet.")]
Footnote = Annotated[str | None, typer.Option("--footnote", help="Shown below, in lost mode.")]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def act(case: int, what: str, body: Any = None, *, once: bool = False, as_json: bool) -> None:
    """Do something about a case and print where it stands then."""
    with connected() as api:
        answer = api.post(f"/api/v1/cases/{case}/{what}", body, once=once)
    if as_json:
        show_json(answer)
    else:
        print_case(answer)


@app.command("open")
def open_(
    kind: Annotated[str, typer.Argument(help="lost, stolen, broken or returned_late.")],
    *,
    control_number: Annotated[str | None, typer.Option("--control-number")] = None,
    serial: Annotated[str | None, typer.Option("--serial")] = None,
    user_id: Annotated[str | None, typer.Option("--user-id", help="The holder's.")] = None,
    school: Annotated[str | None, typer.Option("--school", help="A school's code.")] = None,
    year: Annotated[int | None, typer.Option("--year")] = None,
    class_name: Annotated[str | None, typer.Option("--class")] = None,
    caller: Annotated[str, typer.Option(help="pupil, guardian, teacher, board, police, finder or desk.")],
    verified: Annotated[
        str, typer.Option(help="not_yet, call_back, ledger_items, in_person or through_school.")
    ] = "not_yet",
    message: Message = None,
    phone: Phone = None,
    footnote: Footnote = None,
    due: Annotated[str | None, typer.Option("--due", help="returned_late: the day it should have come back.")] = None,
    as_json: Json = False,
) -> None:
    """Open a case. A lost or stolen tablet is locked at once; several that fit are listed to choose from."""
    sought = _given(control_number=control_number, serial=serial, user_id=user_id, school=school, year=year)
    text = _given(message=message, phone_number=phone, footnote=footnote, due_on=due)
    fits = sought | _given(class_name=class_name)
    with connected() as api:
        # Numbers name one tablet; what may name several is looked up first, for whoever must choose.
        if control_number is None and serial is None:
            choices = api.get("/api/v1/cases/choices", **sought, **_given(**{"class": class_name}))
            if len(choices) > 1:
                _print_choices(choices)
                fail("several tablets fit; open the case with --control-number")
        body = {"kind": kind, "caller": caller, "verified": verified, **fits, **text}
        answer = api.post("/api/v1/cases", body, once=True)
    if as_json:
        show_json(answer)
    else:
        print_case(answer)


def _print_choices(choices: list[dict[str, Any]]) -> None:
    for each in choices:
        form = f"{each['year']}-{each['class_name']}" if each["year"] else ""
        open_case = f"  case {each['case_id']}" if each["case_id"] else ""
        whose = each["user_id"] or "-"
        print(
            f"{each['control_number']:<14} {each['serial']:<14} {each['school_code']:<8} {form:<8} {whose}{open_case}"
        )


@app.command("list")
def list_(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those whose time has run out.")] = False,
    kind: Annotated[str | None, typer.Option("--kind")] = None,
    state: Annotated[str | None, typer.Option("--state")] = None,
    school: Annotated[str | None, typer.Option("--school")] = None,
    serial: Annotated[str | None, typer.Option("--serial")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: Json = False,
) -> None:
    """List open cases, newest first."""
    wanted = _given(kind=kind, state=state, school=school, serial=serial)
    if not everything:
        wanted["open"] = True
    if overdue:
        wanted["overdue"] = True
    with connected() as api:
        page = api.get("/api/v1/cases", limit=limit, **wanted)
    if as_json:
        show_json(page["items"])
        return
    now = datetime.now(UTC).isoformat()
    for each in page["items"]:
        print_line(each, now)


@app.command()
def show(case: Number, *, as_json: Json = False) -> None:
    """Show a case: what is waited for, what the tablet has really done, and the timeline."""
    with connected() as api:
        answer = api.get(f"/api/v1/cases/{case}")
    if as_json:
        show_json(answer)
    else:
        print_case(answer, timeline=True)


@app.command()
def message(
    case: Number, *, text: Message = None, phone: Phone = None, footnote: Footnote = None, as_json: Json = False
) -> None:
    """Lock the tablet, or show another text on it."""
    body = _given(message=text, phone_number=phone, footnote=footnote)
    act(case, "message", body, once=True, as_json=as_json)


@app.command()
def locate(case: Number, *, ask: Annotated[bool, typer.Option("--ask", help="Ask the tablet anew.")] = False,
           as_json: Json = False) -> None:  # fmt: skip
    """Show where the tablet said it is (each look is on record), or ask it anew."""
    if ask:
        act(case, "locate", once=True, as_json=as_json)
        return
    with connected() as api:
        answer = api.get(f"/api/v1/cases/{case}/location")
    if as_json:
        show_json(answer)
        return
    print(f"Answered {answer['answered_at'][:19]}Z; this look is on record.")
    for name, value in sorted(answer["answer"].items()):
        print(f"  {name}: {value}")


@app.command()
def sound(case: Number, *, as_json: Json = False) -> None:
    """Let the tablet play a sound; only in lost mode."""
    act(case, "sound", once=True, as_json=as_json)


@app.command()
def wipe(
    case: Number,
    *,
    reason: Annotated[str, typer.Option(help="Why; the second person decides on it.")] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="Take the wish back.")] = False,
    as_json: Json = False,
) -> None:
    """Ask for the tablet to be erased; it leaves only when a second person has agreed. Or take that back."""
    if cancel:
        act(case, "wipe/cancel", as_json=as_json)
    elif not reason:
        fail("say why: --reason")
    else:
        act(case, "wipe", {"reason": reason}, once=True, as_json=as_json)


@app.command()
def sim(
    case: Number,
    wish: Annotated[str, typer.Argument(help="suspend or resume.")],
    *,
    reason: Annotated[str, typer.Option(help="Why, where lock or wipe have not landed.")] = "",
    wait_hours: Annotated[int, typer.Option(min=1, max=720, help="How long the tablet is waited for first.")] = 24,
) -> None:
    """Ask the carrier to suspend or resume the SIM. Refused while the SIM is needed; else noted at the least."""
    with connected() as api:
        api.post(f"/api/v1/cases/{case}/sim", {"wish": wish, "reason": reason, "wait_hours": wait_hours})
    print(f"Asked: {wish}. What the carrier makes of it comes onto the case's timeline.")


@app.command()
def verify(
    case: Number,
    how: Annotated[str, typer.Argument(help="call_back, ledger_items, in_person or through_school.")],
    *,
    as_json: Json = False,
) -> None:
    """Note how the caller was verified."""
    act(case, "verify", {"verified": how}, as_json=as_json)


@app.command()
def found(case: Number, *, as_json: Json = False) -> None:
    """The tablet is back: free it, take back what waits for it, forget where it was."""
    act(case, "found", once=True, as_json=as_json)


@app.command("written-off")
def written_off(
    case: Number,
    *,
    police_report: Annotated[str | None, typer.Option("--police-report", help="Its number.")] = None,
    insurance: Annotated[str | None, typer.Option("--insurance", help="Its number.")] = None,
    as_json: Json = False,
) -> None:
    """Give the tablet up: the ledger calls it lost; lock and wipe stay in line for it."""
    body = _given(police_report_no=police_report, insurance_no=insurance)
    act(case, "written-off", body, as_json=as_json)


@app.command()
def note(
    case: Number,
    text: str,
    *,
    sure: Annotated[bool, typer.Option("--sure", help="The warning about this text was read.")] = False,
    as_json: Json = False,
) -> None:
    """Write a memo. No names, no health, no creed: it cannot be taken back."""
    act(case, "notes", {"text": text, "sure": sure}, as_json=as_json)


@app.command()
def close(
    case: Number,
    outcome: Annotated[str, typer.Argument(help="found, mistaken, repaired, retired or returned.")],
    *,
    as_json: Json = False,
) -> None:
    """Close a case."""
    act(case, "close", {"outcome": f"closed_{outcome}"}, as_json=as_json)
