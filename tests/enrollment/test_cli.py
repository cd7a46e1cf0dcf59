"""`tabane enroll` against a real operator app."""

import json
import plistlib
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from mdm.app import operator_app
from mdm.auth import Role, credentials
from mdm.auth.models import Operator
from mdm.cli.enroll import app
from tests.serving import serving


@pytest.fixture
def run(session, push_certificate, district, monkeypatch):
    """Run the command, signed in as support on a served operator app."""
    row = Operator(name="s", password_hash="x", role=Role.SUPPORT, all_schools=True, created_at=datetime.now(UTC))
    session.add(row)
    session.flush()
    secret = credentials.open_session(session, row.id).secret
    session.commit()
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", secret)
        yield lambda *words: CliRunner().invoke(app, words)


def test_ticket_list_revoke(run, tmp_path):
    """A ticket is opened, its profile written for its owner's eyes only, listed, revoked."""
    file = tmp_path / "enroll.mobileconfig"
    done = run("ticket", "--serial", "ISSUED1", "--out", str(file))
    assert done.exit_code == 0, done.output
    assert plistlib.loads(file.read_bytes())["PayloadIdentifier"] == "tabane.enrollment"
    assert file.stat().st_mode & 0o077 == 0
    listed = json.loads(run("list", "--json").output)
    assert [line["serial"] for line in listed] == ["ISSUED1"]
    assert "ISSUED1" in run("list").output
    assert run("revoke", listed[0]["id"]).exit_code == 0
    assert json.loads(run("list", "--json").output) == []
    assert "revoked" in run("list", "--all").output


def test_staging_ticket(run):
    """The address of a bench's profile is printed, or everything as JSON."""
    done = run("ticket", "--school", "e-01", "--uses", "3", "--hours", "2")
    assert "/enroll/apple/" in done.output
    assert json.loads(run("ticket", "--school", "e-01", "--json").output)["file_name"] == "enroll.mobileconfig"


@pytest.mark.parametrize(
    ("words", "code"), [(("--serial", "LOST2"), 1), ((), 2), (("--serial", "A", "--school", "B"), 2)]
)
def test_refusals(run, words, code):
    """One line, and a status that says what kind of failure it is."""
    done = run("ticket", *words)
    assert done.exit_code == code
    assert "Traceback" not in done.output
