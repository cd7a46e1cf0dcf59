"""The report of handling by contractor: which handler did and read how much, for the board and for who supervises."""

import csv
import io
import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from mdm import clock, db
from mdm.audit import chain
from mdm.cli import build
from tests.mdm_organization.conftest import board
from tests.serving import serving

__all__ = ["board"]


@pytest.fixture
def entrusted(board):
    """A contractor with a supervisor and a desk, a sub-contractor with a desk, somebody else's desk; their acts."""
    top = board.organization("Invented Systems")
    below = board.organization("=Invented Desk", under=top)
    other = board.organization("Somebody Else")
    for each in (top, other):
        board.contract(each, "loss_desk", "supervision")
    board.contract(below, "loss_desk")
    board.account("watch", "supervision", board.handler(top, "S-1", "supervision", kind="responsible"))
    for name, organization in (("near", top), ("far", below), ("stranger", other)):
        board.account(name, "loss_desk", board.handler(organization, "H-1", "loss_desk"))
    board.account("stranger2", "supervision", board.handler(other, "S-1", "supervision"))
    with db.transaction() as session:
        for name, times in (("near", 1), ("far", 3), ("stranger", 5), ("boss", 7)):
            for number in range(times):
                chain.record(session, f"operator:{name}", "holder.read_name", f"device:{number}", {"user_id": "SECRET"})
        chain.record(session, "operator:far", "case.export", "case:1")
    return {"top": top, "below": below, "other": other}


def _period():
    now = clock.now()
    return {"since": (now - timedelta(days=1)).isoformat(), "until": (now + timedelta(minutes=1)).isoformat()}


def _counted(lines):
    keys = ("organization", "tier", "label", "kind", "actor", "sort", "action")
    seen = {tuple(line[key] for key in keys): line["count"] for line in lines}
    return {key: count for key, count in seen.items() if key[-1] in ("holder.read_name", "case.export")}


NEAR = ("Invented Systems", "contractor", "H-1", "handler", "operator:near", "read", "holder.read_name")
FAR = ("=Invented Desk", "subcontractor", "H-1", "handler", "operator:far", "read", "holder.read_name")
FAR_OUT = ("=Invented Desk", "subcontractor", "H-1", "handler", "operator:far", "export", "case.export")


def test_by_handler_of_an_organization_and_of_those_below(board, entrusted):
    """Only theirs, counted by account and action, and nothing of whom it was about; the look itself is on record."""
    lines = board.ask("GET", f"/organizations/{entrusted['top']}/handling", status=200, **_period())
    assert _counted(lines) == {NEAR: 1, FAR: 3, FAR_OUT: 1}
    assert "SECRET" not in json.dumps(lines)
    assert "架空" not in json.dumps(lines, ensure_ascii=False)
    lines = board.ask("GET", f"/organizations/{entrusted['below']}/handling", status=200, **_period())
    assert _counted(lines) == {FAR: 3, FAR_OUT: 1}
    trail = [each for each in board.ask("GET", "/audit")["items"] if each["action"] == "audit.report"]
    assert [each["subject"] for each in trail] == [f"organization:{entrusted[name]}" for name in ("below", "top")]


def test_who_supervises_sees_their_own_and_nobody_elses(board, entrusted):
    """The contractor's supervisor sees what it answers for (R-31); another's is told that there is no such thing."""
    watch, stranger, desk = (board.client_of(name) for name in ("watch", "stranger2", "near"))
    path = f"/api/v1/organizations/{entrusted['top']}/handling"
    assert _counted(watch.get(path, params=_period()).json()) == {NEAR: 1, FAR: 3, FAR_OUT: 1}
    assert stranger.get(path, params=_period()).status_code == 404
    assert desk.get(path, params=_period()).status_code == 403
    assert watch.get(path.replace(str(entrusted["top"]), "999"), params=_period()).status_code == 404


def test_a_period_that_is_none(board, entrusted):
    """A period that ends before it begins is refused."""
    path = f"/organizations/{entrusted['top']}/handling"
    board.ask("GET", path, status=422, since="2026-04-02T00:00:00Z", until="2026-04-01T00:00:00Z")


def test_on_the_command_line(board, entrusted, monkeypatch):
    """By name or id, as lines or as CSV with Japanese headers and no cell that a spreadsheet executes."""
    with serving(board.client.app) as url:
        token = board.client.headers["Authorization"].removeprefix("Bearer ")
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", token)
        period = _period()

        def tabane(*words):
            words = ("audit", "report", "--from", period["since"], "--to", period["until"], *words)
            return CliRunner().invoke(build("audit"), words, prog_name="tabane")

        assert "Invented Systems" in tabane("--organization", "Invented Systems").output
        printed = tabane("--organization", str(entrusted["below"]), "--csv").stdout_bytes.decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(printed)))
        assert rows[0][:5] == ["事業者", "区分", "取扱者番号", "取扱者の別", "アカウント"]
        expected = ["'=Invented Desk", "丙", "H-1", "取扱者", "far", "loss_desk", "閲覧", "holder.read_name", "3"]
        assert expected in [row[:9] for row in rows]
        unknown = tabane("--organization", "Nobody")
        assert (unknown.exit_code, unknown.stderr.strip()) == (1, "tabane: there is no organization Nobody")
