"""The report of handling counts who did and read what in a period, and gives away nothing else."""

import csv
import io
import json
from datetime import timedelta

import pytest

from mdm import clock, db
from mdm.audit import chain
from mdm.auditor.handling import Sort, sort_of
from mdm.auth import Role
from mdm.auth.models import Operator
from tests.mdm_audit.conftest import auditor, evidence, tabane

__all__ = ["auditor", "evidence", "tabane"]


@pytest.fixture
def acts(auditor):
    """Three looks and an export by one operator, a refusal of another, a job's work, and something a year ago."""
    with db.transaction() as session:
        session.add(Operator(name="hana", password_hash="", role=Role.LOSS_DESK, all_schools=True))
        session.flush()
        for number in range(3):
            chain.record(session, "operator:hana", "holder.read_name", f"device:{number}", {"user_id": "SECRET"})
        chain.record(session, "operator:hana", "ledger.export", "ledger")
        chain.record(session, "operator:=gone", "session.refuse", "operator:=gone")
        chain.record(session, "job:sweep", "approval.expire", "approval:1")


def _period(days: int = 1) -> list[str]:
    now = clock.now()
    return ["--from", (now - timedelta(days=days)).isoformat(), "--to", (now + timedelta(minutes=1)).isoformat()]


def test_counts_by_operator(acts, tabane):
    """Reads, exports and refusals are counted by operator and action; jobs are left out, and nobody is named in it."""
    lines = json.loads(tabane("report", *_period(), "--json").output)
    counted = {(line["actor"], line["role"], line["sort"], line["action"]): line["count"] for line in lines}
    assert counted == {
        ("operator:hana", "loss_desk", "read", "holder.read_name"): 3,
        ("operator:hana", "loss_desk", "export", "ledger.export"): 1,
        ("operator:=gone", None, "refused", "session.refuse"): 1,
    }
    assert "SECRET" not in json.dumps(lines)
    assert "hana (loss_desk)" in tabane("report", *_period()).output


def test_as_csv(acts, tabane):
    """The CSV has Japanese headers and no cell that a spreadsheet executes; having asked is on record."""
    printed = tabane("report", *_period(), "--csv").stdout_bytes.decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(printed)))
    assert rows[0] == ["取扱者", "役割", "種別", "操作", "件数", "最初", "最後"]
    assert ["hana", "loss_desk", "閲覧", "holder.read_name", "3"] in [row[:5] for row in rows]
    assert not any(row[0].startswith("=") for row in rows)
    later = json.loads(tabane("report", *_period(), "--json").output)
    assert [line["count"] for line in later if line["action"] == "audit.report"] == [1]


def test_a_period_that_is_none(acts, tabane):
    """A period that ends before it begins is refused in one line, and so is what is no moment."""
    upside = tabane("report", "--from", "2026-04-02", "--to", "2026-04-01")
    assert (upside.exit_code, len(upside.stderr.splitlines())) == (1, 1)
    assert tabane("report", "--from", "soon", "--to", "2026-04-01").exit_code == 2


@pytest.mark.parametrize(
    ("action", "sort"),
    [
        ("device.list", Sort.READ),
        ("check.export", Sort.EXPORT),
        ("token.create", Sort.SIGN_IN),
        ("policy.apply", Sort.ACT),
    ],
)
def test_sorts(action, sort):
    """Each action of the trail is one sort of handling, by its verb first and then by its noun."""
    assert sort_of(action) is sort
