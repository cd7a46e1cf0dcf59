"""`tabane organization`: contractors, their contracts and handlers, through the operator API."""

import sys
from typing import Annotated, Any

import typer

from mdm.cli.client import Client, connected, fail, show_json

app = typer.Typer(no_args_is_help=True, help="甲, contractors (乙), sub-contractors (丙) and their handlers.")
PATH = "/api/v1/organizations"
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Name = Annotated[str, typer.Argument(metavar="ORGANIZATION", help="Its name.")]
_Day = "YYYY-MM-DD"
_Duties = Annotated[list[str], typer.Option("--duty", help="supervision, operation, loss_desk, repair_desk; repeat.")]
_TIERS = {"board": "甲", "contractor": "乙", "subcontractor": "丙"}


@app.command("list")
def list_(*, as_json: _Json = False) -> None:
    """List the organizations, until when each has access, and a warning 60 days before that ends."""
    with connected() as api:
        found = api.get(PATH)
    if as_json:
        show_json(found)
        return
    for each in found:
        indent = "  " if each["tier"] == "subcontractor" else ""
        print(f"{_TIERS[each['tier']]} {indent}{each['name']:<32} {_access(each['access'])}")


@app.command()
def add(
    name: _Name,
    *,
    under: Annotated[str | None, typer.Option("--under", help="The contractor whose sub-contractor it is.")] = None,
    consent: Annotated[str | None, typer.Option("--consent", help="Where the board's consent is filed.")] = None,
    consent_on: Annotated[str | None, typer.Option("--consent-on", metavar=_Day)] = None,
    certificate: Annotated[str | None, typer.Option("--certificate", help="A third party's.")] = None,
    certificate_until: Annotated[str | None, typer.Option("--certificate-until", metavar=_Day)] = None,
) -> None:
    """Take up a contractor, or with --under a sub-contractor; that takes the board's written consent."""
    body: dict[str, Any] = {"name": name, "certificate": certificate, "certificate_until": certificate_until}
    with connected() as api:
        if under is not None:
            if consent is None or consent_on is None:
                fail("a sub-contractor takes the board's written consent: --consent and --consent-on", code=2)
            body |= {"parent_id": id_of(api, under), "consent": {"document": consent, "on": consent_on}}
        made = api.post(PATH, body)
    print(f"{_TIERS[made['tier']]} {made['name']}: taken up as number {made['id']}.")


@app.command()
def contract(
    name: _Name,
    *,
    starts: Annotated[str | None, typer.Option("--from", metavar=_Day)] = None,
    ends: Annotated[str | None, typer.Option("--to", metavar=_Day, help="The last day.")] = None,
    duty: _Duties = [],  # noqa: B006 - typer reads the default and never changes it
    document: Annotated[str | None, typer.Option("--document", help="Where it is filed.")] = None,
    renews: Annotated[int | None, typer.Option("--renews", help="The number of the contract that it renews.")] = None,
    terminate: Annotated[int | None, typer.Option("--terminate", help="The number of a contract to end early.")] = None,
    on: Annotated[str | None, typer.Option("--on", metavar=_Day, help="With --terminate: the last day.")] = None,
) -> None:
    """Show an organization's contracts; with --from and --to put one on record, with --terminate end one early."""
    with connected() as api:
        path = f"{PATH}/{id_of(api, name)}"
        if terminate is not None:
            shown = api.post(f"{path}/contracts/{terminate}/terminate", {"on": on})
        elif starts is not None or ends is not None:
            body = {"starts_on": starts, "ends_on": ends, "duties": duty, "document": document, "renews_id": renews}
            shown = api.post(f"{path}/contracts", body)
        else:
            shown = api.get(path)
    for each in shown["contracts"]:
        early = f", ended on {each['terminated_on']}" if each["terminated_on"] else ""
        renewal = f", renews {each['renews_id']}" if each["renews_id"] else ""
        span = f"{each['starts_on']} to {each['ends_on']}"
        print(f"{each['id']:>5}  {span}{early}  {', '.join(each['duties'])}  ({each['document']}{renewal})")
    print(f"access: {_access(shown['access'])}")


@app.command()
def handler(
    name: _Name,
    label: Annotated[str | None, typer.Argument(help="The organization's own number of the person.")] = None,
    *,
    person: Annotated[str | None, typer.Option("--name", help="Enter somebody; it is kept sealed.")] = None,
    responsible: Annotated[bool, typer.Option("--responsible", help="取扱責任者 instead of 取扱者.")] = False,
    duty: _Duties = [],  # noqa: B006 - typer reads the default and never changes it
    starts: Annotated[str | None, typer.Option("--from", metavar=_Day)] = None,
    ends: Annotated[str | None, typer.Option("--to", metavar=_Day, help="The last day.")] = None,
    notice: Annotated[str | None, typer.Option("--notice", help="Where the pledge is filed; 丙 takes one.")] = None,
    notice_on: Annotated[str | None, typer.Option("--notice-on", metavar=_Day)] = None,
    as_json: _Json = False,
) -> None:
    """List an organization's handlers; with --name enter one, with other options change the one named by LABEL."""
    with connected() as api:
        path = f"{PATH}/{id_of(api, name)}/handlers"
        kind = {"kind": "responsible"} if responsible else {}
        told = {"notice": {"document": notice, "on": notice_on}} if notice else {}
        what = kind | told | ({"duties": duty} if duty else {}) | ({"valid_until": ends} if ends else {})
        if person is not None:
            api.post(path, {"label": label, "name": person, "valid_from": starts, **what})
        elif what:
            found = next((each for each in api.get(path) if each["label"] == label), None)
            if found is None:
                fail(f"{name} has no handler {label}")
            api.patch(f"{path}/{found['id']}", what)
        lines = api.get(path)
    if as_json:
        show_json(lines)
        return
    for each in lines:
        span = f"{each['valid_from']} to {each['valid_until'] or 'further notice'}"
        accounts = ", ".join(each["accounts"]) or "no account"
        print(
            f"{each['id']:>5}  {each['label']:<16} {each['kind']:<12} {', '.join(each['duties'])}  {span}  {accounts}"
        )


@app.command()
def report(
    since: Annotated[str, typer.Option("--since", metavar=_Day, help="The first day.")],
    until: Annotated[str, typer.Option("--until", metavar=_Day, help="The last day.")],
) -> None:
    """Write the report of changed handlers as CSV (乙 to 甲; 丙 to 甲 and 乙). It holds names, and goes on record."""
    with connected() as api:
        body = api.download(f"{PATH.rsplit('/', 1)[0]}/handler-changes/export", since=since, until=until)
    sys.stdout.buffer.write(body)


def id_of(api: Client, name: str) -> int:
    """Return the id of an organization that is given by name or id; ends with a line where there is none."""
    found = next((each for each in api.get(PATH) if name in (each["name"], str(each["id"]))), None)
    if found is None:
        fail(f"there is no organization {name}")
    return int(found["id"])


def _access(access: dict[str, Any] | None) -> str:
    if access is None:
        return "needs no contract"
    match access["standing"]:
        case "running":
            days = f"{access['days_left']} days left" if access["warning"] else ""
            return f"until {access['ends_on']}" + (f"  RENEW: {days}" if days else "")
        case "over":
            return f"over since {access['ends_on']}"
        case "coming":
            return "not begun yet"
        case _:
            return "no contract: nobody of it can sign in"
