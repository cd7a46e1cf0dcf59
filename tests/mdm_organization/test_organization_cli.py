"""`tabane organization` against a running operator app."""

import csv
import threading

import pytest
import uvicorn
from typer.testing import CliRunner

from mdm.cli import build
from tests.mdm_organization.conftest import day


class Started(uvicorn.Server):
    """A server that says when it listens."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.listening.set()


@pytest.fixture
def tabane(board, monkeypatch):
    server = Started(uvicorn.Config(board.client.app, port=0, log_level="error", ws="none"))
    server.listening = threading.Event()
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.listening.wait(30)
    port = server.servers[0].sockets[0].getsockname()[1]
    monkeypatch.setenv("TABANE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("TABANE_TOKEN", board.client.headers["Authorization"].removeprefix("Bearer "))

    def run(*words, status=0):
        done = CliRunner().invoke(build("organization"), ["organization", *words], prog_name="tabane")
        assert done.exit_code == status, done.output
        return done.output

    yield run
    server.should_exit = True
    thread.join(30)


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
