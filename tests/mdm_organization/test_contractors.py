"""Contractors, contracts and handlers: who may be taken up, and when their accounts open and close."""

from datetime import UTC, date, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from mdm import clock, db
from mdm.auth.entitlement import first_moment, today
from mdm.organization.contractors import Access, Standing, access_of
from mdm.organization.models import Contract, School
from tests.mdm_commands.conftest import add_tablet
from tests.mdm_organization.conftest import PASSWORD, day


def _signed_in(client) -> bool:
    return client.get("/api/v1/session").status_code == 200


def _desk(board, tier="contractor"):
    """Take up a contractor, or also its sub-contractor, with a loss desk; return the organization and the handler."""
    top = board.organization("Invented Systems")
    board.contract(top, "loss_desk", "supervision")
    below = board.organization("Invented Desk", under=top) if tier == "subcontractor" else top
    contract = board.contract(below, "loss_desk") if below != top else None
    handler = board.handler(below, "H-1", "loss_desk")
    board.account("desk", "loss_desk", handler)
    return top, below, contract, handler


def test_the_tree_is_three_deep_and_the_third_takes_consent(board):
    """甲, 乙, 丙: below 丙 nobody can be, and 丙 only with the board's consent; not even past the rules."""
    top = board.organization("Invented Systems", certificate="Privacy Mark 00000000")
    board.ask("POST", "/organizations", {"name": "No Consent", "parent_id": top}, 422)
    below = board.organization("Invented Desk", under=top)
    consent = {"document": "c", "on": "2026-03-01"}
    answer = board.ask("POST", "/organizations", {"name": "Too Deep", "parent_id": below, "consent": consent}, 409)
    assert "nobody" in answer["detail"]
    board.ask("POST", "/organizations", {"name": "Invented Desk"}, 409)
    shown = board.ask("GET", "/organizations", status=200)
    expected = [("board", None), ("contractor", shown[0]["id"]), ("subcontractor", top)]
    assert [(each["tier"], each["parent_id"]) for each in shown] == expected
    for tier in ("subcontractor", "contractor"):
        with pytest.raises(IntegrityError), db.engine().begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO organization (name, tier, parent_id, consent_document, consent_on)"
                " VALUES ('Too Deep', %s, %s, 'c', '2026-03-01')",
                (tier, below),
            )


def test_an_account_takes_a_handler_a_duty_and_a_contract(board):
    """No account without a registered handler whose duty covers the role, and a contract that runs for that duty."""
    top = board.organization("Invented Systems")
    handler = board.handler(top, "H-1", "loss_desk", "repair_desk")
    board.account("desk", "loss_desk", handler, 409)
    board.contract(top, "loss_desk", since=1)
    board.account("desk", "loss_desk", handler, 409)
    board.contract(top, "loss_desk")
    board.account("desk", "repair_desk", handler, 409)
    board.account("desk", "administrator", handler, 422)
    board.account("desk", "loss_desk", 999, 422)
    made = board.account("desk", "loss_desk", handler)
    assert (made["organization_id"], made["handler_id"]) == (top, handler)
    for role in ("administrator", "repair_desk", "viewer"):
        board.ask("PATCH", f"/operators/{made['id']}", {"role": role}, 409 if role == "repair_desk" else 422)
    assert board.ask("GET", f"/organizations/{top}/handlers")[0]["accounts"] == ["desk"]
    late = board.handler(top, "H-2", "loss_desk", valid_from=day(2))
    board.account("desk2", "loss_desk", late, 409)


@pytest.mark.parametrize("how", ["contract", "contract above", "handler", "duty"])
def test_access_ends_at_once_for_whatever_is_open(board, how):
    """When contract, the contract above, validity or duty is over, sessions, tokens and sign-in are over with it."""
    top, below, contract, handler = _desk(board, "subcontractor")
    opened = [board.client_of("desk"), board.client_of("desk", token=True)]
    assert all(map(_signed_in, opened))
    above = board.ask("GET", f"/organizations/{top}")["contracts"][0]["id"]
    change = f"/organizations/{below}/handlers/{handler}"
    match how:
        case "contract":
            path = f"/organizations/{below}/contracts/{contract}/terminate"
            board.ask("POST", path, {"on": day(-1)}, 200)
        case "contract above":
            board.ask("POST", f"/organizations/{top}/contracts/{above}/terminate", {"on": day(-1)}, 200)
        case "handler":
            board.ask("PATCH", change, {"valid_until": day(-1)}, 200)
        case "duty":
            board.ask("PATCH", change, {"duties": ["supervision"]}, 200)
    assert not any(map(_signed_in, opened))
    body = {"name": "desk", "password": PASSWORD, "bearer": True}
    assert opened[0].post("/api/v1/session", json=body, headers={"Authorization": ""}).status_code == 401


def test_the_last_day_counts_in_japan(board, monkeypatch):
    """A contract's last day is a whole one, and it ends at midnight in Japan."""
    top = board.organization("Invented Systems")
    board.contract(top, "loss_desk", until=0)
    board.account("desk", "loss_desk", board.handler(top, "H-1", "loss_desk"))
    token = board.client_of("desk", token=True)
    midnight = first_moment(today() + timedelta(days=1)).astimezone(UTC)
    for seconds, inside in ((-1, True), (0, False)):
        moment = midnight + timedelta(seconds=seconds)
        monkeypatch.setattr(clock, "now", lambda moment=moment: moment)
        assert _signed_in(token) is inside


def test_renewals_carry_access_on_and_its_end_is_warned_of(board):
    """A renewal without a gap moves the end; within 60 days of it there is a warning; a contract is renewed once."""
    top = board.organization("Invented Systems")
    assert board.ask("GET", f"/organizations/{top}")["access"]["standing"] == "none"
    first = board.contract(top, "loss_desk", until=60)
    access = board.ask("GET", f"/organizations/{top}")["access"]
    assert access == {"standing": "running", "ends_on": day(60), "days_left": 60, "warning": True}
    board.contract(top, "loss_desk", since=61, until=400, renews_id=first)
    access = board.ask("GET", "/organizations")[1]["access"]
    assert (access["days_left"], access["warning"]) == (400, False)
    body = {"starts_on": day(61), "ends_on": day(90), "duties": ["loss_desk"], "document": "f", "renews_id": first}
    board.ask("POST", f"/organizations/{top}/contracts", body, 409)
    board.ask("POST", f"/organizations/{top}/contracts", body | {"renews_id": 999}, 422)
    board.ask("POST", f"/organizations/{top}/contracts", body | {"renews_id": None, "duties": ["viewer"]}, 422)
    board.ask("POST", f"/organizations/{top}/contracts", body | {"renews_id": None, "ends_on": day(1)}, 422)
    below = board.organization("Invented Desk", under=top)
    board.ask("POST", f"/organizations/{below}/contracts", body | {"renews_id": None, "duties": ["operation"]}, 422)


def test_access_by_contracts():
    """How access stands by a list of contracts, without a database."""

    def contract(first, last, terminated=None):
        days = {"starts_on": date(2026, 4, first), "ends_on": date(2026, 4, last)}
        end = date(2026, 4, terminated) if terminated else None
        return Contract(organization_id=1, duties=["loss_desk"], document="", terminated_on=end, **days)

    at = date(2026, 4, 10)
    assert access_of([], at) == Access(Standing.NONE, None, None)
    assert access_of([contract(11, 20)], at).standing is Standing.COMING
    assert access_of([contract(1, 9)], at) == Access(Standing.OVER, date(2026, 4, 9), None)
    assert access_of([contract(1, 20, terminated=9)], at).standing is Standing.OVER
    assert access_of([contract(1, 10), contract(12, 20)], at).days_left == 0
    assert access_of([contract(1, 10), contract(11, 20), contract(15, 18)], at).days_left == 10


def test_a_sub_contractors_handler_takes_notice(board):
    """Nobody of 丙 handles anything before being told of duties and penalties."""
    _, below, _, _ = _desk(board, "subcontractor")
    body = {"label": "H-9", "name": "架空", "duties": ["loss_desk"], "valid_from": day(-1)}
    board.ask("POST", f"/organizations/{below}/handlers", body, 422)
    told = board.handler(below, "H-9", "loss_desk", notice={"document": "p", "on": day(3)})
    board.account("desk9", "loss_desk", told, 409)
    board.ask("POST", f"/organizations/{below}/handlers", body | {"label": "H-1"}, 422)


def test_names_are_masked_and_looks_on_record(board):
    """The register shows no names; the one that is opened, and the report, are on record without it."""
    top, _, _, handler = _desk(board)
    assert board.ask("GET", f"/organizations/{top}/handlers")[0]["name"] == "***"
    assert board.ask("GET", f"/organizations/{top}/handlers/{handler}/name") == {"label": "H-1", "name": "架空 H-1"}
    with db.engine().connect() as connection:
        kept = connection.exec_driver_sql("SELECT encode(name_sealed, 'escape') FROM handler").scalar_one()
        acts = connection.exec_driver_sql("SELECT action FROM audit_event ORDER BY id").scalars().all()
        trail = connection.exec_driver_sql("SELECT string_agg(details::text, '') FROM audit_event").scalar_one()
    assert "架空" not in kept
    assert "架空" not in trail
    assert acts[-1] == "handler.read_name"
    assert {"organization.add", "contract.add", "handler.registered", "operator.add"} <= set(acts)


def test_the_report_of_changed_handlers(board):
    """乙 reports to 甲; 丙 to 甲 and its 乙: each change with before and after, as a list and as CSV."""
    _, below, _, handler = _desk(board, "subcontractor")
    board.ask("PATCH", f"/organizations/{below}/handlers/{handler}", {"valid_until": day(9)}, 200)
    lines = board.ask("GET", "/handler-changes", status=200, since=day(0), until=day(0))
    assert [(each["what"], each["reports_to"], each["name"]) for each in lines] == [
        ("registered", "教育委員会, Invented Systems", "架空 H-1"),
        ("changed", "教育委員会, Invented Systems", "架空 H-1"),
    ]
    assert (lines[1]["before"]["valid_until"], lines[1]["after"]["valid_until"]) == (None, day(9))
    assert board.ask("GET", "/handler-changes", since=day(1), until=day(2)) == []
    answer = board.client.get("/api/v1/handler-changes/export", params={"since": day(0), "until": day(0)})
    rows = answer.content.decode("utf-8-sig").splitlines()
    assert rows[0].startswith("日時,事業者,区分,報告先")
    assert len(rows) == 3


def test_who_sees_what_of_whom(board):
    """The board sees 丙 without asking 乙; a supervisor of 乙 sees its own and those below, of 丙 its own only."""
    top, below, _, _ = _desk(board, "subcontractor")
    other = board.organization("Somebody Else")
    board.contract(other, "supervision", "loss_desk")
    board.contract(below, "loss_desk", since=-9)
    for name, organization in (("watch", top), ("stranger", other)):
        board.account(name, "supervision", board.handler(organization, "S-1", "supervision"))
    desk = board.client_of("desk")
    desk.get("/api/v1/devices")
    desk.put("/api/v1/session/password", json={"current": "wrong", "password": "another long enough"})
    assert desk.get("/api/v1/organizations").status_code == 403
    watch, stranger = board.client_of("watch"), board.client_of("stranger")
    assert [each["id"] for each in watch.get("/api/v1/organizations").json()] == [top, below]
    assert [each["id"] for each in stranger.get("/api/v1/organizations").json()] == [other]
    activity = f"/api/v1/organizations/{below}/activity"
    for who in (watch, board.client):
        acts = who.get(activity).json()["items"]
        assert {act["actor"] for act in acts} == {"operator:desk"}
        assert "device.list" in {act["action"] for act in acts}
    for path in (activity, f"/api/v1/organizations/{below}", f"/api/v1/organizations/{top}/handlers"):
        assert stranger.get(path).status_code == 404
    days = {"since": day(-1), "until": day(1)}
    assert len(watch.get("/api/v1/handler-changes", params=days).json()) == 2
    assert [each["organization"] for each in stranger.get("/api/v1/handler-changes", params=days).json()] == [
        "Somebody Else"
    ]


def test_the_database_keeps_contractors_in_their_duties(board):
    """Not even a direct row makes an administrator of a handler, or an account of another organization's handler."""
    _desk(board)
    other = board.organization("Somebody Else")
    for change in (
        "UPDATE operator SET role = 'administrator' WHERE name = 'desk'",
        "UPDATE operator SET handler_id = NULL WHERE name = 'desk'",
        f"UPDATE operator SET organization_id = {other} WHERE name = 'desk'",
    ):
        with pytest.raises(IntegrityError), db.engine().begin() as connection:
            connection.exec_driver_sql(change)


def test_what_a_contractor_asked_for_who_is_gone_is_not_approved(board):
    """A wipe that was asked for by somebody whose contract has ended since waits for nobody's approval any more."""
    _, below, contract, _ = _desk(board, "subcontractor")
    with db.transaction() as session:
        session.execute(text("UPDATE operator SET made_on_host = true"))  # not too young to ask
        school = School(code="E1", name="School E1")
        session.add(school)
        session.flush()
        tablet = add_tablet(session, school.id, "SERIALA")
    desk = board.client_of("desk")
    body, once = {"kind": "wipe", "reason": "stolen"}, {"Idempotency-Key": "k"}
    asked = desk.post(f"/api/v1/devices/{tablet}/commands", json=body, headers=once)
    assert asked.status_code == 202, asked.text
    board.ask("POST", f"/organizations/{below}/contracts/{contract}/terminate", {"on": day(-1)}, 200)
    consent = board.client.app.openapi()["components"]["schemas"]["SignedConsent"]["examples"][0]
    refused = board.ask("POST", f"/approvals/{asked.json()['approval_id']}/approve", consent, 409)
    assert "may no longer sign in" in refused["detail"]
