"""`tabane campaign` against a running operator app."""

import json

import pytest
from typer.testing import CliRunner

from mdm.app import operator_app
from mdm.cli import build
from tests.mdm_campaigns.conftest import ANY_TIME, Campaign
from tests.serving import serving

pytestmark = pytest.mark.usefixtures("small")
WHEN = ("--from", ANY_TIME["first_day"], "--to", ANY_TIME["last_day"], "--hours", "00:00-24:00")
DAYS = ("--weekdays", "mon,tue,wed,thu,fri,sat,sun")


@pytest.fixture
def tabane(boss, monkeypatch, tmp_path):
    """Run `tabane` as somebody: `tabane("campaign", "list", who=boss)`."""
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)

        def run(*words: str, who=boss, given: str | None = None):
            secret = who.client.headers["Authorization"].removeprefix("Bearer ")
            monkeypatch.setenv("TABANE_TOKEN", secret)
            monkeypatch.setenv("TABANE_CREDENTIALS", str(tmp_path / who.name / "credentials.json"))
            return CliRunner().invoke(build(words[0]), [*map(str, words)], input=given, prog_name="tabane")

        yield run


def test_a_campaign_by_the_command_line_alone(stock, tabane, boss, board, contractor, sql, tmp_path):
    """Planned from a list, asked for, signed by two with keys of their own, paused, resumed, reported, aborted."""
    file = tmp_path / "returned.csv"
    file.write_bytes("管理番号\r\nR001\r\nR002\r\nR003\r\nR999\r\n".encode("cp932"))
    planned = tabane("campaign", "plan", "--file", file, *WHEN, *DAYS)
    assert planned.exit_code == 0, planned.stderr
    assert "3 tablets would be wiped, in waves of 2, 3, 4 an hour" in planned.stdout
    assert "left out, unknown: 1 (R999)" in planned.stdout
    asked = tabane("campaign", "request", "満了", "--file", file, "--reason", "the end", *WHEN, *DAYS, "--json")
    one = json.loads(asked.stdout)["id"]
    (tmp_path / "passphrase").write_text("an invented passphrase")
    opened = ("--passphrase-file", tmp_path / "passphrase")
    for who in (board, contractor):
        assert tabane("key", "new", "--label", "desk", *opened, who=who).exit_code == 0
        (key,) = json.loads(tabane("key", "list", "--json", who=who).stdout)
        assert tabane("key", "pin", key["fingerprint"]).exit_code == 0
        declined = tabane("campaign", "approve", one, *opened, who=who, given="n\n")
        assert (declined.exit_code, "SERR003" in declined.stderr) == (1, True)
        signed = tabane("campaign", "approve", one, *opened, "--yes", who=who)
        assert signed.exit_code == 0, signed.stderr
    assert "approved" in tabane("campaign", "list", "--state", "approved").stdout
    assert Campaign(boss, sql, one).round() == {"left": 2}
    assert "paused" in tabane("campaign", "pause", one, "--reason", "the wrong shelf", who=contractor).stdout
    assert "running" in tabane("campaign", "resume", one).stdout
    shown = tabane("campaign", "show", one, "--tablets").stdout
    assert "signed for the contractor by kenji" in shown
    assert "R003           SERR003        waiting" in shown
    out = tmp_path / "report.csv"
    assert tabane("campaign", "report", one, "--out", out).exit_code == 0
    assert out.read_text("utf-8-sig").splitlines()[3].startswith("R003,SERR003,E1,")
    assert "aborted" in tabane("campaign", "abort", one).stdout
    assert tabane("campaign", "resume", one).exit_code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan",), "a bulk wipe of everything is not asked for"),
        (("plan", "--school", "E1", "--hours", "noon"), "HH:MM-HH:MM"),
        (("plan", "--file", "/nowhere/x.csv"), "cannot read"),
        (("request", "x", "--school", "E1", "--reason", ""), "say why"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(returned, tabane, words, said):
    """Each mistake ends with its own words and a status that is not 0."""
    result = tabane("campaign", *words, *WHEN[:4])
    assert result.exit_code == 1, result.output
    assert said in result.stderr
