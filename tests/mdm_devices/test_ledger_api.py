"""The ledger through the operators' door: import, export, search, state, and the audited read of a name."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role, credentials
from mdm.auth.models import Operator, OperatorSchool
from mdm.devices import sample

HEADER = "管理番号,シリアル番号,学校コード,学校名,学年,組,利用者ID,氏名,IMEI,ICCID,状態\r\n"
LEDGER = HEADER + (
    "T1,SERIAL1,E001,青葉小学校,1,2,p1,青葉　海,359900000000016,8981990000000000013,貸与\r\n"
    "T2,SERIAL2,E001,青葉小学校,2,1,p2,泉　樹,359900000000024,8981990000000000021,貸与\r\n"
    "T3,SERIAL3,E002,泉小学校,2,1,p3,朝倉　凛,359900000000032,8981990000000000039,紛失\r\n"
    "T4,SERIAL4,E002,泉小学校,,,,,,,在庫\r\n"
)
NAMES = ("青葉　海", "泉　樹", "朝倉　凛")
IMPORTS = "/api/v1/ledger/imports"
SignIn = Callable[..., TestClient]


@pytest.fixture
def sign_in(database: str) -> Iterator[SignIn]:
    """Return a client of the operator app, signed in with a role and a scope."""
    app = operator_app()
    with ExitStack() as stack:

        def signed_in(role: Role = Role.ADMINISTRATOR, *codes: str) -> TestClient:
            with db.transaction() as session:
                operator = Operator(
                    name=f"{role.value}{'-'.join(codes)}", password_hash="", role=role, all_schools=not codes
                )
                session.add(operator)
                session.flush()
                for code in codes:
                    school = session.execute(text("SELECT id FROM school WHERE code = :code"), {"code": code})
                    session.add(OperatorSchool(operator_id=operator.id, school_id=school.scalar_one()))
                secret = credentials.open_session(session, operator.id).secret
            return stack.enter_context(TestClient(app, headers={"Authorization": f"Bearer {secret}"}))

        yield signed_in


@pytest.fixture
def api(sign_in: SignIn) -> TestClient:
    """An administrator of all schools, with the four tablets in the ledger."""
    client = sign_in()
    assert upload(client, LEDGER).status_code == 200
    return client


def upload(client: TestClient, content: str | bytes, **params: object):
    body = content.encode() if isinstance(content, str) else content
    return client.post(IMPORTS, content=body, headers={"Content-Type": "text/csv"}, params=params)


def listed(client: TestClient, **params: object) -> list[str]:
    answer = client.get("/api/v1/devices", params=params)
    assert answer.status_code == 200, answer.text
    return [device["control_number"] for device in answer.json()["items"]]


def device_id(client: TestClient, number: str) -> int:
    return client.get("/api/v1/devices", params={"control_number": number}).json()["items"][0]["id"]


def audited() -> list[tuple[str, str, dict]]:
    with db.engine().connect() as connection:
        rows = connection.execute(text("SELECT actor, action, details FROM audit_event ORDER BY id"))
        return [tuple(row) for row in rows]


def test_an_import_reports_and_is_on_record(sign_in: SignIn) -> None:
    """Counts, first lines and no name in the answer; one audit event with the counts and the file's digest."""
    client = sign_in()
    report = upload(client, LEDGER).json()
    assert (report["applied"], report["new"], report["changed"], report["unchanged"]) == (True, 4, 0, 0)
    assert (report["errors"], report["schools"]) == (0, 2)
    assert report["lines"][0] == {"line": 2, "control_number": "T1", "outcome": "new", "changes": []}
    ((actor, action, details),) = audited()
    assert (actor, action, details["new"], len(details["sha256"])) == ("operator:administrator", "ledger.import", 4, 64)
    again = upload(client, LEDGER).json()
    assert (again["new"], again["changed"], again["unchanged"], again["lines"]) == (0, 0, 4, [])


def test_a_dry_run_writes_nothing(sign_in: SignIn) -> None:
    """A dry run tells the same counts and leaves the ledger alone; the question is on record."""
    client = sign_in()
    report = upload(client, LEDGER, dry_run=True).json()
    assert (report["applied"], report["new"]) == (False, 4)
    assert listed(client) == []
    assert [action for _, action, _ in audited() if action.startswith("ledger.")] == ["ledger.preview"]


def test_wrong_lines_refuse_the_file_or_are_skipped(sign_in: SignIn) -> None:
    """All or nothing with errors by line; with skip_bad_rows the right lines go in and the answer lists the wrong."""
    client = sign_in()
    broken = LEDGER.replace("SERIAL2", "?")
    refused = upload(client, broken)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/lines/3"]
    assert listed(client) == []
    assert upload(client, broken, dry_run=True).json()["faults"][0]["line"] == 3
    report = upload(client, broken, report_faults=True).json()
    assert (report["applied"], report["new"], report["faults"][0]["line"]) == (False, 3, 3)
    assert listed(client) == []
    assert [action for _, action, _ in audited() if action.startswith("ledger.")] == ["ledger.preview"] * 2
    report = upload(client, broken, skip_bad_rows=True).json()
    assert (report["new"], report["errors"]) == (3, 1)
    assert listed(client) == ["T1", "T3", "T4"]


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 400, "empty"),
        (b"\xff\xfe\x00", 400, "UTF-16"),
        ("a,b\n1,2\n", 400, "unknown header"),
        (HEADER.encode() + b"\x80" * 10, 400, "line 2"),
    ],
)
def test_a_file_that_is_no_ledger_is_refused(sign_in: SignIn, content: str | bytes, status: int, said: str) -> None:
    """What cannot be read as a ledger is a problem document, never a failure."""
    answer = upload(sign_in(), content)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_a_form_upload_in_cp932(sign_in: SignIn) -> None:
    """A browser's form with the file in CP932 does the same as a raw body."""
    client = sign_in()
    answer = client.post(IMPORTS, files={"file": ("ledger.csv", LEDGER.encode("cp932"), "text/csv")})
    assert answer.json()["new"] == 4
    assert client.post(IMPORTS, files={"other": b"x"}).status_code == 400
    assert client.get("/api/v1/schools/E001").json()["name"] == "青葉小学校"


def test_a_large_file_passes_and_a_huge_one_does_not(sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The import takes more than the API's usual megabyte, up to its own cap."""
    client = sign_in()
    large = "".join(sample.lines(9000)).encode()
    assert len(large) > 1024 * 1024
    assert upload(client, large, dry_run=True).json()["new"] == 9000
    assert upload(client, b"x" * (65 * 1024 * 1024)).status_code == 413


def test_who_may_do_what(api: TestClient, sign_in: SignIn) -> None:
    """Viewers read, support acts and reads names, administrators import and take tablets out of the fleet."""
    viewer, support = sign_in(Role.VIEWER), sign_in(Role.SUPPORT)
    one = f"/api/v1/devices/{device_id(api, 'T1')}"
    assert viewer.get(one).status_code == 200
    assert viewer.get(f"{one}/holder-name").status_code == 403
    assert viewer.get("/api/v1/ledger/export").status_code == 403
    assert viewer.patch(one, json={"state": "lost"}).status_code == 403
    assert support.patch(one, json={"state": "lost"}).json()["state"] == "lost"
    assert support.patch(one, json={"state": "retired"}).status_code == 403
    assert upload(support, LEDGER).status_code == 403
    assert upload(viewer, LEDGER, dry_run=True).status_code == 403
    assert upload(TestClient(api.app), LEDGER).status_code == 401
    assert api.patch(one, json={"state": "retired"}).json()["state"] == "retired"


def test_scope_hides_other_schools(api: TestClient, sign_in: SignIn) -> None:
    """For an operator of one school the tablets, schools and names of another do not exist."""
    other = sign_in(Role.ADMINISTRATOR, "E001")
    hidden = f"/api/v1/devices/{device_id(api, 'T3')}"
    assert listed(other) == ["T1", "T2"]
    assert listed(other, serial="SERIAL3") == []
    assert [school["code"] for school in other.get("/api/v1/schools").json()["items"]] == ["E001"]
    for answer in (
        other.get(hidden),
        other.get(f"{hidden}/holder-name"),
        other.patch(hidden, json={"state": "lost"}),
        other.get("/api/v1/schools/E002"),
        other.get("/api/v1/schools/E002/classes"),
    ):
        assert answer.status_code == 404
    assert "T3" not in other.get("/api/v1/ledger/export").text
    refused = upload(other, LEDGER)
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/lines/4", "/lines/5"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["T1", "T2", "T3", "T4"]),
        ({"control_number": "Ｔ１"}, ["T1"]),  # noqa: RUF001
        ({"serial": "serial2"}, ["T2"]),
        ({"imei": "3599000000000325"}, ["T3"]),
        ({"iccid": "898199000000000002"}, ["T2"]),
        ({"iccid": "8981 9900 0000 0000 021F"}, ["T2"]),
        ({"user_id": "p1"}, ["T1"]),
        ({"school": "E002"}, ["T3", "T4"]),
        ({"school": "E001", "year": 2, "class": "1"}, ["T2"]),
        ({"state": "stock"}, ["T4"]),
        ({"enrollment": "active"}, []),
        ({"q": "serial"}, ["T1", "T2", "T3", "T4"]),
        ({"q": "p3"}, ["T3"]),
        ({"q": "%"}, []),
    ],
)
def test_search(api: TestClient, filters: dict[str, object], expected: list[str]) -> None:
    """Each filter finds what it should, in any form of an identifier."""
    assert listed(api, **filters) == expected


@pytest.mark.parametrize("filters", [{"iccid": "12"}, {"imei": "x"}, {"state": "sold"}, {"cursor": "xxxx"}])
def test_a_wrong_filter_is_named_not_ignored(api: TestClient, filters: dict[str, str]) -> None:
    """A filter that cannot be meant is refused."""
    assert api.get("/api/v1/devices", params=filters).status_code in {400, 422}


def test_pages_follow_each_other(api: TestClient) -> None:
    """Cursor pages give every tablet once."""
    found, cursor = [], None
    for _ in range(4):
        page = api.get("/api/v1/devices", params={"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        found += [device["control_number"] for device in page["items"]]
        cursor = page["next"]
    assert (found, cursor) == (["T1", "T2", "T3", "T4"], None)


def test_names_are_masked_until_asked_for_and_the_read_is_on_record(api: TestClient, sign_in: SignIn) -> None:
    """No list, no tablet and no export shows a name; the one way to read it leaves an audit event (R-26)."""
    one = f"/api/v1/devices/{device_id(api, 'T1')}"
    answers = [api.get("/api/v1/devices"), api.get(one), api.get("/api/v1/ledger/export"), upload(api, LEDGER)]
    assert not [name for name in NAMES for answer in answers if name in answer.text]
    assert api.get(one).json()["holder"] == {"user_id": "p1", "year": 1, "class_name": "2", "name": "***"}
    before = len(audited())
    support = sign_in(Role.SUPPORT)
    assert support.get(f"{one}/holder-name").json() == {"user_id": "p1", "name": "青葉　海"}
    (event,) = audited()[before:]
    assert event == ("operator:support", "holder.read_name", {"user_id": "p1"})
    assert api.get(f"/api/v1/devices/{device_id(api, 'T4')}/holder-name").status_code == 404


def test_neither_log_nor_trail_holds_a_name(api: TestClient, capfd: pytest.CaptureFixture[str]) -> None:
    """Imports that go well or badly, and reads of names, leave no name, ICCID or IMEI in log or audit trail."""
    upload(api, LEDGER.replace("T2,", "T1,"))
    upload(api, LEDGER.replace("泉　樹", "泉　" + "長" * 200))
    upload(api, LEDGER.replace("青葉　海", "青葉　陸"))
    api.get(f"/api/v1/devices/{device_id(api, 'T1')}/holder-name")
    said = capfd.readouterr()
    written = said.out + said.err + json.dumps(audited(), ensure_ascii=False)
    assert not [name for name in (*NAMES, "青葉　陸", "8981990", "3599000", "長長") if name in written]


def test_an_export_is_imported_unchanged(api: TestClient) -> None:
    """What is exported can be imported again without a change, formula-like cells included, and keeps the names."""
    upload(api, LEDGER.replace("E002,泉小学校", "E002,=SUM(A1)校").replace("T4,SERIAL4", "-T5,SERIAL5"))
    exported = api.get("/api/v1/ledger/export")
    assert exported.content.startswith(b"\xef\xbb\xbf")
    assert "氏名" not in exported.text
    assert "'=SUM(A1)校" in exported.text
    assert "'-T5" in exported.text
    report = upload(api, exported.content).json()
    assert (report["new"], report["changed"], report["unchanged"], report["errors"]) == (0, 0, 5, 0)
    name = api.get(f"/api/v1/devices/{device_id(api, 'T3')}/holder-name").json()["name"]
    assert name == "朝倉　凛"


def test_a_state_change_is_on_record_once(api: TestClient) -> None:
    """Setting a state records old and new; setting the same again records nothing; wrong states are refused."""
    one = f"/api/v1/devices/{device_id(api, 'T1')}"
    before = len(audited())
    for _ in range(2):
        assert api.patch(one, json={"state": "lost"}).status_code == 200
    assert [(action, details) for _, action, details in audited()[before:]] == [
        ("device.set_state", {"old": "issued", "new": "lost"})
    ]
    assert api.patch(one, json={"state": "sold"}).status_code == 422
    assert api.patch(one, json={"serial": "X"}).status_code == 422
