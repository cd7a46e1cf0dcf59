"""Reports of whereabouts checks, what stays as it is, and what is never read."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from mdm import db

from .conftest import NOW, tasks


def test_closing_freezes_the_report(running, bring_forward, speak, set_state, session, time):
    """A closed check takes no evidence, takes what spoke just before, and its report does not change any more."""
    path = running()
    time.go(days=3)
    speak("A02")
    closed = running.api.post(f"{path}/close").json()
    assert (closed["state"], closed["closed_by"]) == ("closed", "operator:board")
    assert set(tasks(running.api, path, status="verified")) == {"A02"}
    before = running.api.get(f"{path}/report").json()
    page = running.api.get(f"{path}/report.html").text
    time.go(days=3)
    speak("A01", "A03")
    set_state("A01", "lost")
    bring_forward()
    for act, body in (("scans", {"control_numbers": ["A01"]}), ("confirmations", {"control_numbers": ["A01"]})):
        assert running.api.post(f"{path}/{act}", json=body).status_code == 409
    assert running.api.post(f"{path}/close").status_code == 409
    assert running.api.get(f"{path}/report").json() == before
    assert running.api.get(f"{path}/report.html").text == page
    [trail] = running.api.get("/api/v1/audit", params={"action": "check.close"}).json()["items"]
    assert trail["details"]["digest"] == before["check"]["report_digest"]
    for change in (
        "UPDATE check_task SET verified_at = now()",
        "DELETE FROM check_evidence",
        "UPDATE check_task SET state = 'x'",
    ):
        with pytest.raises(DBAPIError):
            session.execute(text(change))
        session.rollback()


def test_reports_can_be_opened_and_printed(running, session, speak, time):
    """The CSV runs in no spreadsheet, the page escapes what is in it, both in two languages and without a name."""
    session.execute(text("UPDATE device SET control_number = '=1+1' WHERE control_number = 'A01'"))
    session.execute(text("UPDATE school SET name = '<script>alert(1)</script>' WHERE code = 'E1'"))
    session.commit()
    path = running(name="<b>所在</b>")
    body = running.api.get(f"{path}/report.csv")
    assert body.headers["content-type"].startswith("text/csv")
    lines = body.content.decode("utf-8-sig").split("\r\n")
    assert lines[0].startswith("管理番号,学校コード,学校名,学年,組,利用者ID")
    assert lines[1].startswith("'=1+1,E1,")
    assert len(lines) == 1 + 6 + 1
    english = running.api.get(f"{path}/report.csv", params={"lang": "en", "school": "E2"}).text
    assert english.splitlines()[1:] == [
        "B01,E2,School E2,3,1,p-b01,issued,issued,,2026-04-10 10:00,",
        "B02,E2,School E2,,,,in stock,in stock,must be seen,never,",
    ]
    page = running.api.get(f"{path}/report.html")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert "<b>" not in page.text
    assert 'lang="ja"' in page.text
    assert page.text.count("<section>") == 2
    assert "style-src 'sha256-" in page.headers["content-security-policy"]
    assert "Tablets not verified" in running.api.get(f"{path}/report.html", params={"lang": "en"}).text
    assert "Hidden" not in page.text + body.text + english
    trail = running.api.get("/api/v1/audit", params={"action": "check.export"}).json()["items"]
    assert {each["details"]["form"] for each in trail} == {"csv", "html"}


TABLES = {"whereabouts_check", "check_school", "check_task", "check_evidence", "check_step"}
TABLES |= {"device", "school", "school_class", "holder", "enrollment", "audit_event"}
TABLES |= {"notice", "support_case"}  # of it no more than whether a case of loss is open
SIGNING_IN = {"credential", "operator", "operator_school", "safeguard_threshold", "organization", "contract", "handler"}


def test_no_location_is_read(running, bring_forward, speak, time):
    """All a check does, from plan to report, reads neither what tablets answered nor their commands: no location."""
    seen: set[str] = set()

    def note(_connection, _cursor, statement, *_):
        names = re.findall(r"\b(?:FROM|JOIN|INTO|UPDATE(?! OF)(?! SKIP))\s+([a-z_]+)", statement)
        seen.update(names)
        if "support_case o" in statement:
            assert set(re.findall(r"\bo\.(\w+)", statement)) == {"device_id", "closed_at", "kind"}
        assert not re.search(r"locat|latit|longit|report\b.*body|command|position", statement, re.IGNORECASE), statement

    event.listen(db.engine(), "before_cursor_execute", note)
    try:
        path = running()
        time.go(days=2)
        speak("A01")
        bring_forward()
        running.api.post(f"{path}/scans", json={"control_numbers": ["A02"]})
        running.api.post(f"{path}/confirmations", json={"control_numbers": ["A03"]})
        for what in ("", "/progress", "/tasks", "/evidence", "/report", "/report.csv", "/report.html"):
            assert running.api.get(f"{path}{what}").status_code == 200
        time.go(days=40)
        bring_forward()
        running.api.post(f"{path}/close")
    finally:
        event.remove(db.engine(), "before_cursor_execute", note)
    assert {"check_task", "check_evidence", "check_step", "enrollment"} <= seen
    aliases = {"chosen", "running", "due", "verified", "unnest"}
    assert seen - TABLES - SIGNING_IN - aliases == set()
    schema = running.api.get("/api/v1/openapi.json").json()
    shown = str({path: each for path, each in schema["paths"].items() if "/checks" in path}).lower()
    assert "latitude" not in shown
    assert "longitude" not in shown


def test_pages_of_tasks_are_stable(running):
    """Pages follow each other in the order of schools and numbers."""
    path = running()
    found, cursor = [], None
    while True:
        page = running.api.get(
            f"{path}/tasks", params={"limit": 3, "cursor": cursor} if cursor else {"limit": 3}
        ).json()
        found += [line["control_number"] for line in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == ["A01", "A02", "A03", "A04", "A05", "A06", "B01", "B02"]


def test_fifteen_thousand_check_ins_are_one_statement(running, session, fleet, schools, bring_forward, time):
    """Taking the check-ins of a batch costs the same number of statements for one tablet and for thousands."""
    session.execute(
        text(
            "INSERT INTO device (control_number, serial, platform, model, school_id, lease_contract, state)"
            " SELECT 'Z' || n, 'ZZZ' || n, 'apple', '', :school, '', 'issued' FROM generate_series(1, 4000) n"
        ),
        {"school": schools["E1"]},
    )
    session.execute(
        text(
            "INSERT INTO enrollment (device_id, status, epoch, last_seen_at) SELECT id, 'active', 1,"
            " CAST(:seen AS timestamptz) FROM device WHERE control_number LIKE 'Z%'"
        ),
        {"seen": NOW + timedelta(hours=1)},
    )
    session.commit()
    running()
    statements: list[str] = []

    def note(_connection, _cursor, statement, *_):
        if "check_evidence" in statement:
            statements.append(statement)

    event.listen(db.engine(), "before_cursor_execute", note)
    try:
        assert bring_forward()["checkins"] == 4000
    finally:
        event.remove(db.engine(), "before_cursor_execute", note)
    assert len(statements) == 1
