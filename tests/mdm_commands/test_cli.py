"""The command line of operators, commands, approvals and the trail, against a running operator app."""

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mdm.app import operator_app
from mdm.cli import build
from mdm.settings import get_settings
from tests.serving import serving
from workers import sender

PASSWORD = "correct horse battery"
Run = Callable[..., Result]


@pytest.fixture
def url(district, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    # Signing in with two factors has tests of its own.
    monkeypatch.setenv("TABANE_SECOND_FACTOR", "optional")
    get_settings.cache_clear()
    with serving(operator_app()) as url:
        yield url


@pytest.fixture
def tabane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `tabane` as somebody with their own kept session: `tabane("lost", "on", who="hana")`."""
    for name in ("TABANE_URL", "TABANE_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str, who: str = "hana", given: str | None = None) -> Result:
        monkeypatch.setenv("TABANE_CREDENTIALS", str(tmp_path / who / "credentials.json"))
        return CliRunner().invoke(build(words[0]), words, input=given, prog_name="tabane")

    return run


@pytest.fixture
def signed_in(tabane: Run, url: str) -> Run:
    """Hana and jiro have accounts and are signed in."""
    for name in ("hana", "jiro"):
        assert tabane("operator", "add", name, "--role", "support", "--all-schools", given=PASSWORD).exit_code == 0
        result = tabane("login", "--url", url, "--name", name, who=name, given=PASSWORD)
        assert result.exit_code == 0, result.output
        assert PASSWORD not in result.output
    return tabane


def test_adding_operators(tabane, district, tmp_path):
    """The password comes from a file or standard input; a wrong call says in one line what is wrong."""
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    add = ("operator", "add")
    good = tabane(*add, "hana", "--role", "viewer", "--school", "E1", "--school", "E2", "--password-file", str(file))
    assert (good.exit_code, good.output) == (0, "Added hana (viewer).\n")
    neither = tabane(*add, "jiro", "--role", "viewer", given=PASSWORD)
    assert (neither.exit_code, len(neither.stderr.splitlines())) == (2, 1)
    assert tabane(*add, "jiro", "--role", "king", "--all-schools", given=PASSWORD).exit_code == 2
    assert tabane(*add, "jiro", "--role", "viewer", "--all-schools", given="").exit_code == 1
    missing = tabane(*add, "jiro", "--role", "viewer", "--all-schools", "--password-file", str(tmp_path / "none"))
    assert (missing.exit_code, len(missing.stderr.splitlines())) == (1, 1)


def test_login_keeps_a_session_for_its_owner_only(signed_in, url, tmp_path):
    """The session is kept in a file that only its owner reads; a wrong password is one line and status 1."""
    file = tmp_path / "hana" / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    wrong = signed_in("login", "--url", url, "--name", "hana", who="other", given="wrong")
    assert (wrong.exit_code, wrong.stderr) == (1, "tabane: name or password is wrong\n")
    assert signed_in("logout").exit_code == 0
    assert not file.exists()
    after = signed_in("command", "list")
    assert (after.exit_code, len(after.stderr.splitlines())) == (1, 1)


def test_a_kept_session_goes_to_no_other_server(signed_in, monkeypatch):
    """With another address in the environment the kept session stays at home."""
    monkeypatch.setenv("TABANE_URL", "http://192.0.2.1:1")
    result = signed_in("command", "list")
    assert result.exit_code == 1
    assert "tabane login" in result.stderr


def test_no_server_is_one_line(signed_in, tabane):
    """A server that is not there is one line on standard error."""
    result = tabane("login", "--url", "http://127.0.0.1:1", "--name", "hana", given=PASSWORD)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    result = tabane("login", "--url", "ftp://127.0.0.1", "--name", "hana", given=PASSWORD)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


def test_lost_and_found(signed_in):
    """Locking says what it protects; commands are listed, shown and cancelled."""
    on = signed_in("lost", "on", "--serial", "SERIALA", "--serial", "SERIALP", "--message", "Please return")
    assert on.exit_code == 0
    assert "lost_mode_on" in on.output
    assert "without a passcode" in " ".join(on.output.split())
    listed = json.loads(signed_in("command", "list", "--serial", "seriala", "--json").output)
    assert [each["kind"] for each in listed] == ["lost_mode_on"]
    shown = signed_in("command", "show", listed[0]["id"])
    assert "asked for by operator:hana" in shown.output
    assert json.loads(signed_in("command", "cancel", listed[0]["id"], "--json").output)["state"] == "cancelled"
    refused = signed_in("lost", "locate", "--serial", "SERIALA", "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["refused"][0]["problem"] == "not-in-lost-mode"


def test_a_wipe_takes_two(signed_in, tmp_path):
    """One asks and cannot approve; the other signs with a key that the host has pinned."""
    given = ("--passphrase-file", str(tmp_path / "passphrase"))
    (tmp_path / "passphrase").write_text("an invented passphrase")
    asked = signed_in("wipe", "--serial", "SERIALA", "--reason", "stolen", "--json")
    approval = json.loads(asked.output)["placed"][0]["approval_id"]
    approve = ("approval", "approve", approval, "--urgent", "--yes", *given)
    for who in ("hana", "jiro"):
        assert signed_in(*approve, who=who).exit_code == 1
        made = signed_in("key", "new", "--label", f"{who}'s desk", *given, who=who)
        assert made.exit_code == 0, made.stderr
        assert signed_in(*approve, who=who).exit_code == 1
    (key,) = json.loads(signed_in("key", "list", "--json", who="jiro").output)
    assert signed_in("key", "pin", "SHA256:another").exit_code == 1
    assert "jiro" in signed_in("key", "pin", key["fingerprint"]).output
    alone = signed_in(*approve)
    assert (alone.exit_code, len(alone.stderr.splitlines())) == (1, 1)
    assert approval in signed_in("approval", "list", who="jiro").output
    declined = signed_in("approval", "approve", approval, "--urgent", *given, who="jiro", given="n\n")
    assert (declined.exit_code, "SERIALA" in declined.stderr) == (1, True)
    agreed = signed_in(*approve, "--json", who="jiro")
    assert json.loads(agreed.output)["state"] == "approved"
    assert sender.look() == {"left": 1}
    assert json.loads(signed_in("command", "list", "--state", "queued", "--json").output)[0]["kind"] == "wipe"
    assert signed_in("approval", "reject", approval, who="jiro").exit_code == 1
    assert json.loads(signed_in("approval", "list", "--json").output) == []


def test_verifying_the_trail(signed_in, sql):
    """`audit verify` is quiet and 0 on an intact trail, one line and 1 on a broken or cut one."""
    verdict = json.loads(signed_in("audit", "verify", "--json").output)
    assert (verdict["intact"], verdict["events"]) == (True, 4)
    assert signed_in("audit", "verify", "--head", verdict["head"]).exit_code == 0
    assert signed_in("audit", "verify", "--head", "00" * 32).exit_code == 1
    sql("SET session_replication_role = replica; UPDATE audit_event SET actor = 'host2' WHERE id = 2")
    broken = signed_in("audit", "verify")
    assert (broken.exit_code, len(broken.stderr.splitlines())) == (1, 1)
    assert "event 2" in broken.stderr


def test_listing_is_for_administrators(signed_in, url):
    """Operators and the trail are listed for administrators, and disabling one ends what was open."""
    assert signed_in("audit", "list").exit_code == 1
    assert (
        signed_in("operator", "add", "boss", "--role", "administrator", "--all-schools", given=PASSWORD).exit_code == 0
    )
    assert signed_in("login", "--url", url, "--name", "boss", who="boss", given=PASSWORD).exit_code == 0
    names = [each["name"] for each in json.loads(signed_in("operator", "list", "--json", who="boss").output)]
    assert names == ["boss", "hana", "jiro"]
    assert "session.open" in signed_in("audit", "list", who="boss").output
    assert signed_in("operator", "disable", "hana", who="boss").exit_code == 0
    assert signed_in("command", "list").exit_code == 1
