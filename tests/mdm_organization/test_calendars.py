"""School calendars: the district's and schools' own, from files too; who may set them, and what holds."""

import json
import re
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlmodel import Session, select

from mdm import cli, db
from mdm.app import operator_app
from mdm.auth import Role, credentials
from mdm.auth.models import Operator, OperatorSchool
from mdm.errors import Invalid, Malformed
from mdm.organization import calendar_files, calendars, schools
from mdm.organization.calendar_document import CalendarDocument, merged, of_calendar
from mdm.organization.hours import Calendar, DayKind
from tests.serving import serving

GUIDE = (Path(__file__).parents[2] / "docs" / "calendars.md").read_text()
YAML, CSV = (re.search(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)[1] for kind in ("yaml", "csv"))
LESSONS = {"class_hours": {"mon-fri": ["08:15-12:00", "13:00-15:45"]}}
SUMMER = {"first": "2026-07-21", "last": "2026-08-31", "label": "summer vacation"}
FOUNDING = {"first": "2026-10-15", "label": "founding day"}


@pytest.fixture
def ids(session: Session) -> dict[str, int]:
    schools.write_schools(session, {"E001": "青葉小学校", "E002": "泉小学校"})
    session.commit()
    return {code: id_ for code, (id_, _) in schools.codes_and_names(session).items()}


@pytest.fixture
def bearer(ids, session):
    def make(*codes: str, role: Role = Role.ADMINISTRATOR) -> dict[str, str]:
        name = f"op-{role.value}-{'-'.join(codes)}"
        operator = session.exec(select(Operator).where(Operator.name == name)).first()
        if operator is None:
            operator = Operator(name=name, password_hash="", role=role, all_schools=not codes)
            session.add(operator)
            session.flush()
            session.add_all(OperatorSchool(operator_id=operator.id, school_id=ids[code]) for code in codes)
        secret = credentials.open_session(session, operator.id).secret
        session.commit()
        return {"Authorization": f"Bearer {secret}"}

    return make


@pytest.fixture
def api(database):
    with TestClient(operator_app(), base_url="http://127.0.0.1") as client:
        yield client


def test_without_calendars_nothing_is_closed(session, ids):
    """Every school has the empty calendar, also one that nobody knows."""
    assert calendars.calendars_of(session, [*ids.values(), 99]) == dict.fromkeys([*ids.values(), 99], Calendar())
    assert calendars.calendars_of(session, []) == {}


def test_a_school_has_the_districts_calendar_and_its_own_beside_it(api, bearer, session, ids):
    """Its own class hours take the place of the district's, its closed days come to them; all in one query."""
    admin = bearer()
    assert api.put("/api/v1/calendar", json={**LESSONS, "closed": [SUMMER]}, headers=admin).status_code == 200
    own = {"class_hours": {"mon": ["09:00-12:00"]}, "closed": [FOUNDING]}
    api.put("/api/v1/schools/E001/calendar", json=own, headers=admin)
    asked = []
    event.listen(db.engine(), "before_cursor_execute", lambda *args: asked.append(args[2]))
    found = calendars.calendars_of(session, ids.values())
    assert len(asked) == 1
    one, two = found[ids["E001"]], found[ids["E002"]]
    assert (one.label_of(date(2026, 8, 1)), one.label_of(date(2026, 10, 15))) == ("summer vacation", "founding day")
    assert (two.label_of(date(2026, 8, 1)), two.label_of(date(2026, 10, 15))) == ("summer vacation", None)
    assert [one.kind_of(date(2026, 6, day)) for day in (8, 9)] == [DayKind.SCHOOL, DayKind.OFF]
    assert [two.kind_of(date(2026, 6, day)) for day in (8, 9)] == [DayKind.SCHOOL, DayKind.SCHOOL]
    api.put("/api/v1/schools/E001/calendar", json={"closed": [FOUNDING], "only_own_closed": True}, headers=admin)
    session.expire_all()
    one = calendars.calendars_of(session, [ids["E001"]])[ids["E001"]]
    assert one.label_of(date(2026, 8, 1)) is None
    assert one.lessons == two.lessons


def test_what_holds_is_shown_beside_what_was_set(api, bearer):
    """Spans of weekdays are written out, and removing gives back what held before."""
    admin = bearer()
    api.put("/api/v1/calendar", json=LESSONS, headers=admin)
    shown = api.put("/api/v1/schools/E001/calendar", json={"closed": [FOUNDING]}, headers=admin).json()
    assert shown["school"] == "E001"
    assert shown["written"]["class_hours"] is None
    assert list(shown["holds"]["class_hours"]) == ["mon", "tue", "wed", "thu", "fri"]
    assert shown["holds"]["closed"] == [{**FOUNDING, "last": FOUNDING["first"]}]
    assert api.get("/api/v1/calendar", headers=admin).json()["schools"] == ["E001"]
    assert api.delete("/api/v1/schools/E001/calendar", headers=admin).status_code == 204
    assert api.delete("/api/v1/schools/E001/calendar", headers=admin).status_code == 404
    shown = api.get("/api/v1/schools/E001/calendar", headers=admin).json()
    assert (shown["written"], shown["holds"]["closed"]) == (None, [])
    assert api.delete("/api/v1/calendar", headers=admin).status_code == 204
    assert api.get("/api/v1/calendar", headers=admin).json()["holds"]["class_hours"] == {}


def test_an_administrator_of_a_school_sets_that_schools_only(api, bearer):
    """Not the district's, not another's, and others set nothing at all."""
    one = bearer("E001")
    assert api.put("/api/v1/schools/E001/calendar", json=LESSONS, headers=one).status_code == 200
    assert api.put("/api/v1/schools/E002/calendar", json=LESSONS, headers=one).status_code == 404
    assert api.get("/api/v1/schools/E002/calendar", headers=one).status_code == 404
    assert api.put("/api/v1/calendar", json=LESSONS, headers=one).status_code == 403
    assert api.delete("/api/v1/calendar", headers=one).status_code == 403
    support = bearer("E001", role=Role.SUPPORT)
    assert api.put("/api/v1/schools/E001/calendar", json=LESSONS, headers=support).status_code == 403
    file = b"school: E001\nclosed: []\n---\nschool: E002\n---\nschool: district\n"
    answer = api.post("/api/v1/calendar/imports", content=file, headers=one)
    assert answer.status_code == 422
    assert answer.json()["errors"][0] == {"pointer": "/1/school", "detail": "line 4: E002: there is no such school"}
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/1/school", "/2/school"]
    assert api.get("/api/v1/schools/E001/calendar", headers=one).json()["written"]["class_hours"] is not None


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"class_hours": {"mon": ["15:00-08:00"]}}, "/class_hours/mon", "ends before it begins"),
        ({"class_hours": {"mon": ["08:00-09:00", "08:59-10:00"]}}, "/class_hours/mon", "overlap"),
        ({"class_hours": {"mon-fri": [], "tue": []}}, "/class_hours", "tue is named twice"),
        ({"class_hours": {"fri-mon": []}}, "/class_hours", "the week begins with mon"),
        ({"class_hours": {"monday": []}}, "/class_hours", "no weekday"),
        ({"class_hours": {"mon": "08:00"}}, "/class_hours/mon", "valid tuple"),
        ({"closed": [SUMMER, {"first": "2026-07-32", "label": "x"}]}, "/closed/1/first", "valid date"),
        ({"closed": [{"first": "2026-08-01", "last": "2026-07-01", "label": "x"}]}, "/closed/0", "first day"),
        ({"closed": [{"first": "2026-08-01", "last": "2036-07-01", "label": "x"}]}, "/closed/0", "within 366 days"),
        ({"closed": [{"first": "1026-08-01", "label": "x"}]}, "/closed/0/first", "between 2000 and 2100"),
        ({"closed": [{"first": "2026-08-01", "label": ""}]}, "/closed/0/label", "at least 1 character"),
        ({"holidays": []}, "/holidays", "not permitted"),
        ({"only_own_closed": True}, "/only_own_closed", "only a school"),
    ],
)
def test_a_calendar_that_makes_no_sense_is_refused_by_field(api, bearer, body, pointer, detail):
    """The problem points at the field and says what is wrong."""
    answer = api.put("/api/v1/calendar", json=body, headers=bearer())
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert detail in error["detail"]


def test_setting_goes_on_record_once(api, bearer, session):
    """Setting the same again changes nothing and records nothing."""
    admin = bearer()
    for _ in range(2):
        api.put("/api/v1/calendar", json={**LESSONS, "closed": [SUMMER]}, headers=admin)
        api.put("/api/v1/schools/E001/calendar", json={"closed": []}, headers=admin)
    api.delete("/api/v1/schools/E001/calendar", headers=admin)
    query = "SELECT action, subject, details FROM audit_event WHERE action LIKE 'calendar.%' ORDER BY id"
    assert [tuple(each) for each in session.execute(text(query))] == [
        ("calendar.set", "calendar:district", {"class_hours": True, "closed": 1}),
        ("calendar.set", "calendar:E001", {"class_hours": False, "closed": 0}),
        ("calendar.drop", "calendar:E001", {}),
    ]


def test_both_forms_of_the_guide_say_the_same():
    """The YAML and the CSV of the page that explains them, also as a spreadsheet saves it in Japan."""
    read = calendar_files.read_yaml(YAML.encode())
    assert [each.school for each in read] == ["district", "E001"]
    for encoding in ("utf-8", "utf-8-sig", "cp932"):
        body = CSV.replace("\n", "\r\n").encode(encoding)
        assert calendar_files.read_csv(body) == read, encoding
    japanese = CSV.replace("school,day,last,hours,label", "学校コード,日,最終日,授業時間,名称")
    assert calendar_files.read_csv(japanese.encode("cp932")) == read


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        ("class_hours: {}\n", [("/0/school", "line 1: say whose calendar it is")]),
        ("school: 12\n", [("/0/school", "line 1: say whose calendar it is")]),
        ("school: E001\n---\nschool: E001\n", [("/1/school", "line 3: E001 has a calendar further up")]),
        (
            "school: E001\nclass_hours:\n  mon: []\n  tue-fri: [8-9]\nclosed:\n- {first: 2026-13-01, label: x}",
            [
                ("/0/class_hours/tue", "line 4: write a part of the day"),
                ("/0/closed/0/first", "line 6: Input should be a valid date"),
            ],
        ),
        ("school: E001\nclosed:\n- label: x\n", [("/0/closed/0/first", "line 3: Field required")]),
    ],
)
def test_each_error_of_a_yaml_file_has_its_line(content, errors):
    """Nothing is set while any is left."""
    with pytest.raises(Invalid) as refused:
        calendar_files.read_yaml(content.encode())
    found = [(each["pointer"], each["detail"]) for each in refused.value.errors]
    assert [pointer for pointer, _ in found] == [pointer for pointer, _ in errors]
    for (_, detail), (_, said) in zip(found, errors, strict=True):
        assert detail.startswith(said)


def test_each_error_of_a_csv_file_has_its_line():
    """By the line of the row that it is about."""
    rows = ["school,day,last,hours,label", "E001,mon-fri,,8:15,", "", "E001,月,,,", "E001,2026-02-30,,,x"]
    rows += ["E001,2026-03-01,soon,,x", ",mon,,,", "E002,someday,,,", "E002,2026-03-01,,,"]
    with pytest.raises(Invalid) as refused:
        calendar_files.read_csv("\n".join(rows).encode())
    lines = sorted(each["detail"].split(":")[0] for each in refused.value.errors)
    assert lines == [f"line {number}" for number in (2, 4, 5, 6, 7, 8, 9)]


@pytest.mark.parametrize("content", [b"", b"\x81", b"a,b\n", b'school,day,hours\n"', "日,名称\n".encode("cp932")])
def test_what_is_no_calendar_file_is_refused_whole(content):
    """With a sentence, not a traceback."""
    with pytest.raises(Malformed):
        calendar_files.read_csv(content)


@given(st.text(max_size=60) | st.text(alphabet="school:E1\n,-{}[]\"'0123456789mon", max_size=80))
def test_any_text_is_read_or_refused(content):
    """Whatever a file holds, there is an answer."""
    for read in (calendar_files.read_yaml, calendar_files.read_csv):
        for start in ("", "school,day,last,hours,label\n", "school: E1\n"):
            with suppress(Invalid, Malformed):
                assert read((start + content).encode(errors="replace"))


def test_a_dry_run_says_what_would_change_and_sets_nothing(api, bearer):
    """Then the same file sets it, and a second time changes nothing."""
    admin = bearer() | {"Content-Type": "text/csv"}
    url = "/api/v1/calendar/imports"
    moved = [{"school": "district", "changed": True}, {"school": "E001", "changed": True}]
    assert api.post(url, params={"dry_run": True}, content=CSV.encode(), headers=admin).json() == moved
    assert api.get("/api/v1/calendar", headers=admin).json()["written"] is None
    assert api.post(url, content=CSV.encode(), headers=admin).json() == moved
    again = api.post(url, content=YAML.encode(), headers=admin | {"Content-Type": "application/yaml"}).json()
    assert [each["changed"] for each in again] == [False, False]


def test_a_calendar_survives_being_written_out(ids):
    """What holds, set again, holds the same."""
    [district, own] = calendar_files.read_yaml(YAML.encode())
    for calendar in (merged(district.document, own.document), merged(district.document, None), Calendar()):
        document = CalendarDocument.model_validate_json(of_calendar(calendar).model_dump_json())
        assert merged(document, None) == calendar


@pytest.fixture
def tabane(database, bearer, monkeypatch, capsys):
    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tabane", "calendar", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", bearer()["Authorization"].removeprefix("Bearer "))
        yield run


def test_calendars_at_the_command_line(tabane, tmp_path):
    """Import, show, set parts, take back; errors of a file come with their lines."""
    file = tmp_path / "calendar.yaml"
    file.write_text(YAML)
    assert tabane("import", file, "--dry-run")[:2] == (0, "district     would change\nE001         would change\n")
    assert tabane("import", file)[0] == 0
    out = tabane("show", "--school", "E001")[1]
    for words in (
        "mon  08:30-12:10  13:10-15:30",
        "sat  -",
        "2026-07-21 to 2026-08-31  夏季休業",
        "closed in fiscal 2026",
    ):
        assert words in out
    assert "schools with their own: E001" in tabane("show")[1]
    assert tabane("set", "--school", "E002", "--hours", "sat 09:00-11:00", "--closed", "2027-02-01 snow")[0] == 0
    assert tabane("set", "--school", "E002", "--closed", "2027-02-01..2027-02-03 snow")[0] == 0
    shown = json.loads(tabane("show", "--school", "E002", "--json")[1])
    assert shown["written"]["class_hours"] == {"sat": ["09:00-11:00"]}
    assert shown["written"]["closed"] == [{"first": "2027-02-01", "last": "2027-02-03", "label": "snow"}]
    assert "(nothing of its own)" in tabane("set", "--school", "E002", "--nothing")[1]
    assert tabane("set")[0] == 2
    file.write_text("school: E001\nclosed:\n- {first: 2026-02-30, label: x}\n")
    status, _, err = tabane("import", file)
    assert (status, "/0/closed/0/first: line 3: " in err) == (1, True)
