"""`tabane check` against a running operator app."""

import json

import pytest
from typer.testing import CliRunner

from mdm.app import operator_app
from mdm.cli import build
from tests.serving import serving


@pytest.fixture
def tabane(api, fleet, valkey, monkeypatch):
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", api("boss").headers["Authorization"].removeprefix("Bearer "))
        yield lambda *words: CliRunner().invoke(build("check"), ["check", *map(str, words)], prog_name="tabane")


def test_a_check_from_plan_to_close(tabane, tmp_path, bring_forward, speak, time):
    """A check is planned, started, scanned for, confirmed, looked at, exported and closed by the command line alone."""
    days = ("--from", "2026-04-13", "--to", "2026-05-08")
    planned = json.loads(tabane("plan", "所在確認", *days, "--repeats", "yearly", "--json").stdout)
    one = planned["id"]
    assert "planned" in tabane("list", "--state", "planned").stdout
    assert "running" in tabane("start", one).stdout
    time.go(days=1)
    speak("A01")
    bring_forward()
    handheld = tmp_path / "scans.csv"
    handheld.write_bytes("管理番号,読取日時\r\nA04,2026/04/14 10:00\r\nA99,\r\n".encode("cp932"))
    scanned = tabane("scan", one, "--file", handheld, "--school", "E1")
    assert scanned.exit_code == 1
    assert "line 3     A99" in scanned.stdout
    assert "1 verified" in scanned.stdout
    assert tabane("scan", one, "B02").exit_code == 0
    assert tabane("confirm", one, "A02").exit_code == 0
    shown = tabane("show", one).stdout
    assert "4 of 6 verified (check-in 1, scan 2, word 1); 2 not" in shown
    assert "3-1          2 of 2 verified" in tabane("show", one, "--school", "E1").stdout
    left = tabane("unverified", one).stdout
    assert "A03" in left
    assert "last contact never" in left
    assert "2 of 6 tablets are not verified." in left
    out = tmp_path / "page.html"
    assert tabane("export", one, "--format", "html", "--out", out).exit_code == 0
    assert "所在未確認端末一覧" in out.read_text()
    assert "report frozen" in tabane("close", one).stdout
    copied = json.loads(tabane("copy", one, "--from", "2026-09-01", "--to", "2026-09-30", "--json").stdout)
    assert tabane("cancel", copied["id"]).exit_code == 0
    years = [(each["first_day"], each["state"]) for each in json.loads(tabane("list", "--json").stdout)]
    assert years == [("2026-09-01", "cancelled"), ("2027-04-13", "planned"), ("2026-04-13", "closed")]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("plan", "x", "--from", "tomorrow", "--to", "2026-05-08"), 1, "/first_day"),
        (("show", "1"), 1, "check_id"),
        (("scan", "1"), 2, "give control numbers or --file"),
        (("scan", "1", "--file", "/nowhere/x.csv"), 1, "cannot read"),
        (("export", "1", "--format", "pdf"), 2, "csv or html"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tabane, words, status, said):
    """Each mistake ends with its own words and a status that is not 0."""
    result = tabane(*words)
    assert result.exit_code == status, result.output
    assert said in result.stderr
