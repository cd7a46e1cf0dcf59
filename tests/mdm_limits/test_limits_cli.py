"""`tabane limits` against a running operator app."""

import json

import pytest
from typer.testing import CliRunner

from mdm.app import operator_app
from mdm.cli import build
from tests.serving import serving


@pytest.fixture
def tabane(api, monkeypatch):
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", api("boss").headers["Authorization"].removeprefix("Bearer "))
        yield lambda *words: CliRunner().invoke(build("limits"), ["limits", *words], prog_name="tabane")


def test_limits_are_set_shown_and_looked_up(tabane):
    """Numbers, JSON and `default` set what they say; the list and the history show it, for people and as JSON."""
    assert tabane("set", "fleet", "80", "--burst", "160", "--reason", "quiet week").exit_code == 0
    assert tabane("set", "school.bytes", '{"bands": {"08:15-15:45": 500000, "else": 2500000}}').exit_code == 0
    assert tabane("set", "school.downloads", "12", "--school", "E1").exit_code == 0
    assert tabane("set", "pool.gb", "1000").exit_code == 0
    assert tabane("set", "fleet", "70").exit_code == 0
    shown = tabane("show").stdout
    for words in ("70/s, 160 at once", "08:15-15:45 500,000 bytes/s", "school.downloads of E1", "1000 GB", "boss"):
        assert words in shown
    [fleet] = json.loads(tabane("show", "fleet", "--json").stdout)
    assert fleet["value"] == {"per_s": 70, "burst": 160}
    history = json.loads(tabane("show", "fleet", "--history", "--json").stdout)
    assert [line["value"]["per_s"] for line in history] == [70, 80]
    assert "quiet week" in tabane("show", "--history").stdout
    assert tabane("set", "fleet", "default").exit_code == 0
    assert "taken back" in tabane("show", "fleet", "--history").stdout
    assert "150/s, 300 at once" in tabane("show", "fleet").stdout


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("set", "fleet", "-1"), 2, "no such option"),
        (("set", "fleet", "--", "-1"), 1, "/value/per_s"),
        (("set", "fleet", "fast"), 2, "not a number"),
        (("set", "speed", "1"), 1, "?name"),
        (("set", "school", "1", "--school", "E9"), 1, "/school"),
        (("show", "speed"), 1, "no such limit"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tabane, words, status, said):
    """Each mistake ends with its own words and a status that is not 0."""
    result = tabane(*words)
    assert result.exit_code == status
    assert said in result.stderr.lower()
