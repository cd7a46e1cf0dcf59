"""`tabane policy` and `tabane rollout` against a real server."""

import json
import socket
import sys
import threading

import pytest
import uvicorn

from mdm import cli
from mdm.app import operator_app
from mdm.auth import credentials
from profiles import files

POLICY = """
version: 1
name: district
layer: fleet
usb: {external_storage: deny}
web_filter:
  deny_list: [social.example.com, video.example.net/shorts/]
"""


@pytest.fixture
def server(database):
    """The operator app on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(operator_app(), log_level="error", lifespan="off"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    running.should_exit = True
    thread.join(timeout=10)
    listener.close()


@pytest.fixture
def tabane(server, district, session, monkeypatch, capsys):
    """Run the command as an administrator: returns status, standard output and standard error."""
    issued = credentials.open_session(session, district.principal.id)
    session.commit()
    monkeypatch.setenv("TABANE_URL", server)
    monkeypatch.setenv("TABANE_TOKEN", issued.secret)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tabane", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return run


@pytest.fixture
def policy_file(tmp_path):
    """A policy file."""
    file = tmp_path / "district.yaml"
    file.write_text(POLICY)
    return file


def test_a_file_is_planned_applied_rolled_out_and_watched(tabane, policy_file, district, session):
    """The main job at the command line; off a terminal nothing but the answer is printed."""
    status, out, _ = tabane("policy", "plan", "-f", policy_file)
    assert status == 0
    assert "district (fleet): new, revision 1" in out
    assert "/usb/external_storage: (nothing) -> deny" in out
    assert "+ social.example.com" in out
    assert "once rolled out: 4 tablets touched" in out
    status, out, _ = tabane("policy", "apply", "-f", policy_file, "--yes")
    assert (status, out.splitlines()[-1].split(".")[0]) == (0, "district: revision 1 stored")
    status, out, err = tabane("rollout", "start", "--policy", "district", "--target", "fleet", "--json")
    assert (status, json.loads(out)["counts"]["pending"], err) == (0, 4, "")
    status, out, err = tabane("rollout", "watch", "--timeout", 0)
    assert (status, err) == (1, "")
    assert "4 pending" in out
    district.install_everything(*"ABCD")
    session.commit()
    status, out, err = tabane("rollout", "watch", "--json")
    assert (status, json.loads(out)["counts"]["installed"], err) == (0, 4, "")
    assert "district revision 1 to fleet" in tabane("rollout", "list")[1]


def test_applying_the_same_file_again_says_that_nothing_changed(tabane, policy_file):
    """And stores nothing."""
    tabane("policy", "apply", "-f", policy_file, "--yes")
    status, out, _ = tabane("policy", "apply", "-f", policy_file)
    assert (status, out.splitlines()[-1]) == (0, "nothing changed")
    assert len(json.loads(tabane("policy", "show", "district", "--history", "--json")[1])) == 1


def test_what_is_shown_is_a_policy_file_again(tabane, policy_file):
    """Show, edit, apply: the same document comes back."""
    tabane("policy", "apply", "-f", policy_file, "--yes")
    assert files.load(tabane("policy", "show", "district")[1]) == files.load(POLICY)
    assert "district" in tabane("policy", "show")[1]


def test_one_tablets_policy_names_who_decided(tabane, policy_file):
    """The question of the support desk."""
    tabane("policy", "apply", "-f", policy_file, "--yes")
    assert "no policy speaks to it" in tabane("policy", "show", "--serial", "A")[1]
    tabane("rollout", "start", "--policy", "district", "--target", "fleet")
    out = tabane("policy", "show", "--serial", "a")[1]
    assert "external_storage: deny" in out
    assert "# /usb/external_storage: district" in out


def test_without_a_terminal_applying_needs_yes(tabane, policy_file):
    """Nobody is asked, so nobody agrees."""
    status, _, err = tabane("policy", "apply", "-f", policy_file)
    assert (status, "add --yes" in err) == (2, True)
    assert tabane("policy", "show", "district")[0] == 1


def test_errors_are_lines_and_not_tracebacks(tabane, tmp_path, policy_file):
    """A wrong file names line and field; a missing one, a wrong target and an unknown policy are one line each."""
    policy_file.write_text(POLICY.replace("external_storage", "extrnal_storage"))
    status, _, err = tabane("policy", "plan", "-f", policy_file)
    assert status == 1
    assert "/0/usb/extrnal_storage: line 5: no such key; did you mean `external_storage`?" in err
    for words, saying in (
        (("policy", "plan", "-f", tmp_path / "none.yaml"), "No such file"),
        (("policy", "show", "nobody"), "there is no policy `nobody`"),
        (("rollout", "start", "--policy", "nobody", "--target", "fleet"), "there is no policy `nobody`"),
        (("rollout", "watch"), "there is no rollout yet"),
    ):
        status, out, err = tabane(*words)
        assert (status, out) == (1, ""), words
        assert saying in err
        assert len(err.splitlines()) == 1
