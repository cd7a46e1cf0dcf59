"""`tabane sims` against a running operator app."""

import json

import pytest
from typer.testing import CliRunner

from mdm.app import operator_app
from mdm.cli import build
from tests.mdm_cellular.conftest import csv_of, iccid, line
from tests.serving import serving


@pytest.fixture
def tabane(boss, monkeypatch):
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", boss.headers["Authorization"].removeprefix("Bearer "))
        yield lambda *words: CliRunner().invoke(build("sims"), ["sims", *words], prog_name="tabane")


@pytest.fixture
def file(tmp_path):
    """A file of four SIMs, three of them in tablets."""
    path = tmp_path / "sims.csv"
    path.write_text(csv_of(line(1, "T1"), line(2, "T2"), line(3, "T3"), line(4)))
    return path


def said(result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_file_from_the_command_line(tabane, file, tmp_path):
    """Dry run, import, the same again, wrong lines, a header that is mapped, and the way back out."""
    assert "Dry run: nothing was written." in said(tabane("import", str(file), "--account", "files-1", "--dry-run"))
    assert "0 SIMs" in said(tabane("list"))
    assert "Imported 4 of 4 lines" in said(tabane("import", str(file), "--account", "files-1"))
    assert "This very file went in before" in said(tabane("import", str(file), "--account", "files-1"))
    bad = tmp_path / "bad.csv"
    bad.write_text(csv_of(line(5), line(6, iccid="12")).replace("iccid", "CARD"))
    mapped = ("--map", "CARD:iccid")
    refused = tabane("import", str(bad), "--account", "files-1", *mapped)
    assert refused.exit_code == 1
    assert "line 3       error: iccid: the ICCID has 2 digits" in refused.stderr
    assert "Nothing was imported" in refused.stdout
    assert "Imported 1 of 1" in said(tabane("import", str(bad), "--account", "files-1", *mapped, "--skip-bad-rows"))
    out = tmp_path / "out.csv"
    assert "Wrote 5 SIMs" in said(tabane("export", "--out", str(out)))
    assert out.stat().st_mode & 0o077 == 0
    again = json.loads(said(tabane("import", str(out), "--account", "files-1", "--json")))
    assert (again["unchanged"], again["errors"]) == (5, 0)
    absent = tabane("import", str(tmp_path / "none.csv"), "--account", "files-1")
    assert (absent.exit_code, "cannot read" in absent.stderr) == (1, True)


def test_sims_move_from_tablet_to_tablet(tabane, file):
    """A SIM is named by tablet, ICCID, telephone number or id; refusals are one line."""
    said(tabane("import", str(file), "--account", "files-1"))
    assert "in T1" in said(tabane("show", iccid(1)))
    assert iccid(2) in said(tabane("show", "T2"))
    assert json.loads(said(tabane("show", "02000000000003", "--json")))["control_number"] == "T3"
    taken = tabane("bind", iccid(4), "T1", "--reason", "r")
    assert (taken.exit_code, "unbind that first, or exchange" in taken.stderr) == (1, True)
    assert "T4" in said(tabane("bind", "#4", "T4", "--reason", "r"))
    assert "It was in T4 from" in said(tabane("unbind", "T4", "--reason", "r"))
    said(tabane("exchange", "T1", "T2", "--reason", "the pair was swapped"))
    assert iccid(2) in said(tabane("show", "T1"))
    said(tabane("exchange", "T1", "T6", "--hand-over", "--reason", "spare"))
    assert [sim["control_number"] for sim in json.loads(said(tabane("list", "--bound", "--json")))] == [
        "T2",
        "T6",
        "T3",
    ]
    assert "1 SIMs" in said(tabane("list", "--free"))
    for words in (("show", "nobody"), ("show", "8981"), ("bind", "#4", "T99", "--reason", "r"), ("show", "#99")):
        failed = tabane(*words)
        assert failed.exit_code == 1
        assert failed.stderr.count("\n") == 1


def test_plans_pools_and_accounts(tabane, file):
    """A plan with terms, a pool whose lines join, capacity on top, an account that is changed."""
    said(tabane("import", str(file), "--account", "files-1"))
    start = "2026-01-01T00:00+09:00"
    said(tabane("plan", "set", "files-1", "7gb", "--gb", "7", "--yen", "980", "--effective", start))
    said(tabane("plan", "set", "files-1", "7gb", "--gb", "8"))
    shown = said(tabane("plan", "list"))
    assert "files-1/7gb" in shown
    assert "7.0 GB, 980.00 yen" in shown
    assert "8.0 GB" in shown
    said(tabane("pool", "add", "files-1", "share-1", "--throttle-bps", "300000"))
    assert "2 lines from" in said(
        tabane("pool", "move", "share-1", "T1", iccid(4), "--effective", "now", "--reason", "r")
    )
    assert "2 lines from" in said(tabane("pool", "move", "files-1/share-1", "--plan", "7gb", "--reason", "all"))
    assert "2 SIMs (+2 −0)  14.0 GB" in said(tabane("pool", "list"))  # noqa: RUF001
    assert "24.0 GB" in said(tabane("pool", "extra", "share-1", "10", "--reason", "November"))
    assert "1 lines" in said(tabane("pool", "move", "share-1", "T1", "--leave", "--reason", "r"))
    assert tabane("pool", "show", "nothing").exit_code == 1
    added = ("soracom-1", "soracom", "--base-url", "https://carrier.example/v1", "--option", "operator_id=OP1")
    assert "Added soracom-1" in said(tabane("account", "add", *added, "--usage-tz", "UTC"))
    said(tabane("account", "set", "soracom-1", "--off", "--cycle-day", "20"))
    assert "days of UTC, cycle from 20  (off)" in said(tabane("account", "list"))
    assert "OP1" in said(tabane("account", "show", "soracom-1"))
    wrong = tabane("account", "set", "soracom-1", "--secret-name", "../x")
    assert (wrong.exit_code, "/secret_name: must be the name of a file" in wrong.stderr) == (1, True)
