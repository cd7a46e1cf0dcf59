"""`tabane organization` against a running operator app."""

import csv

import pytest
from typer.testing import CliRunner

from mdm.cli import build
from tests.mdm_organization.conftest import day
from tests.serving import serving


@pytest.fixture
def tabane(board, monkeypatch):
    with serving(board.client.app) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", board.client.headers["Authorization"].removeprefix("Bearer "))

        def run(*words, status=0):
            done = CliRunner().invoke(build("organization"), ["organization", *words], prog_name="tabane")
            assert done.exit_code == status, done.output
            return done.output

        yield run


def test_a_contractor_from_taking_up_to_the_report(tabane):
    """Take up 乙 and 丙, put contracts on record, enter and end a handler, read the list and the report."""
    tabane("add", "Invented Systems", "--certificate", "Privacy Mark 00000000")
    assert "--consent" in tabane("add", "Invented Desk", "--under", "Invented Systems", status=2)
    consent = ("--consent", "file 7", "--consent-on", "2026-03-01")
    tabane("add", "Invented Desk", "--under", "Invented Systems", *consent)
    period = ("--duty", "loss_desk", "--from", day(-1), "--to", day(20), "--document", "file 8")
    for name in ("Invented Systems", "Invented Desk"):
        assert "RENEW: 20 days left" in tabane("contract", name, *period)
    person = ("--name", "架空 花子", "--responsible", "--duty", "loss_desk", "--from", day(0))
    notice = ("--notice", "pledge 3", "--notice-on", day(0))
    assert "no account" in tabane("handler", "Invented Desk", "D-1", *person, *notice)
    assert day(5) in tabane("handler", "Invented Desk", "D-1", "--to", day(5))
    shown = tabane("list")
    assert [line[0] for line in shown.splitlines()] == ["甲", "乙", "丙"]
    rows = list(csv.reader(tabane("report", "--since", day(0), "--until", day(0)).lstrip("\ufeff").splitlines()))
    assert [row[3] for row in rows[1:]] == ["教育委員会, Invented Systems"] * 2
    assert {row[6] for row in rows[1:]} == {"架空 花子"}
    assert "over since" in tabane("contract", "Invented Desk", "--terminate", "2", "--on", day(-1))
    assert "there is no organization Nobody" in tabane("contract", "Nobody", status=1)
