"""Cases on paper: one timeline, the written report; pages that run nothing, cells that no spreadsheet executes."""

import csv
import io
import re
from pathlib import Path

from mdm.support import words
from mdm.support.pages import language_of
from mdm.support.papers import IncidentReport
from tests.mdm_support.conftest import asked

ROOM = Path(__file__).resolve().parents[2] / "mdm" / "support"


def fetch(api, path: str, language: str = "ja"):
    answer = api.client.get(f"/api/v1{path}", headers={"Accept-Language": language})
    assert answer.status_code == 200, answer.text
    return answer


def test_the_timeline_tells_of_desk_and_tablet_in_the_order_of_time(hana, says):
    """What people did and what the tablet did stand in one list, the same as CSV and as a page, in two languages."""
    case = hana.open(serial="SERIALA", message="=1+1")
    path = f"/cases/{case['id']}"
    says(asked(case, "lock"), "done")
    hana.post(f"{path}/notes", {"text": "=HYPERLINK(1) <script>alert(1)</script>"})
    rows = list(csv.reader(io.StringIO(fetch(hana, f"{path}/timeline.csv", "en").text.removeprefix("\ufeff"))))
    assert rows[0] == ["case", "control number", "time", "who", "what", "details"]
    whats = [row[4] for row in rows[1:]]
    assert whats.index("case opened") < whats.index("lost mode on: the tablet has done it") < whats.index("memo")
    assert [row[2] for row in rows[1:]] == sorted(row[2] for row in rows[1:])
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    page = fetch(hana, f"{path}/timeline.html")
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    assert not re.search(r"\s(on\w+|style)=", page.text)
    assert "default-src 'none'; style-src 'sha256-" in page.headers["content-security-policy"]
    assert 'lang="ja"' in page.text
    assert "紛失モード開始: 端末が実行済み" in page.text
    assert 'lang="en"' in fetch(hana, f"{path}/timeline.html", "en-US,en;q=0.9,ja;q=0.5").text


def test_the_report_says_what_is_not_proved(hana, says):
    """First notice, lock and wipe by the tablet's word, and the points that are open."""
    case = hana.open("stolen", serial="SERIALA", verified="not_yet")
    path = f"/cases/{case['id']}"
    report = hana.get(f"{path}/incident-report")
    assert report["locked_at"] is None
    assert len(report["open_points"]) == 3
    says(asked(case, "lock"), "done")
    hana.post(f"{path}/verify", {"verified": "in_person"})
    hana.post(f"{path}/wipe", {"reason": "stolen"})
    hana.post(f"{path}/written-off", {"police_report_no": "2026-0815"})
    report = hana.get(f"{path}/incident-report")
    assert (report["lock_protects"], report["police_report_no"]) == ("lost_mode_on", "2026-0815")
    assert report["wiped_at"] is None
    assert report["open_points"] == ["the tablet has not confirmed the wipe"]
    page = fetch(hana, f"{path}/incident-report.html").text
    assert "警察届出番号" in page
    assert "2026-0815" in page
    assert "police report,2026-0815" in fetch(hana, f"{path}/incident-report.csv", "en").text


def test_every_word_is_there():
    """Each event that the room writes, and each field of the report, has its words in both languages."""
    source = "".join(file.read_text() for file in ROOM.glob("*.py"))
    written = set(re.findall(r'timeline\.note\(\s*session, [^,]+, [^,]+?, "(\w+)"', source))
    assert len(written) > 12
    assert written <= set(words.EVENTS)
    assert set(IncidentReport.model_fields) == set(words.FIELDS)


def test_which_language_is_preferred():
    """Japanese unless English comes first."""
    wanted = {None: "ja", "": "ja", "en": "en", "ja,en;q=0.8": "ja", "en-GB,ja;q=0.1": "en", "fr;q=x": "ja", "*": "ja"}
    assert {given: language_of(given) for given in wanted} == wanted
