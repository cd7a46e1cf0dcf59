"""`tabane policy` and `tabane rollout` against a real server."""

import json
import plistlib
import sys

import pytest

from mdm import cli
from profiles import exceptions, files, presets

POLICY = """
version: 1
name: district
layer: fleet
usb: {external_storage: deny}
web_filter:
  deny_list: [social.example.com, video.example.net/shorts/]
"""


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


def test_the_gate_is_passed_with_options(tabane, policy_file):
    """A plan names its hash; a loss wants its count and a harm an override with its reason."""
    tabane("policy", "apply", "-f", policy_file, "--yes")
    tabane("rollout", "start", "--policy", "district", "--target", "fleet")
    policy_file.write_text("version: 1\nname: district\nlayer: fleet\nusb: {external_storage: deny}\n")
    status, out, _ = tabane("policy", "plan", "-f", policy_file)
    assert "taken away: tabane.policy.web-filter (4 tablets)" in out
    assert "applying needs --allow-delete 4" in out
    assert "RISKY" in out
    assert "school 0101: 3 tablets fetch up to 0 B each, 0 B over LTE" in out
    digest = out.splitlines()[-1].removeprefix("plan ")
    status, _, err = tabane("policy", "apply", "-f", policy_file, "--yes", "--plan", "0" * 64)
    assert (status, "plan again" in err) == (1, True)
    status, _, err = tabane("policy", "apply", "-f", policy_file, "--yes")
    assert (status, "allow exactly 4" in err) == (1, True)
    assert tabane("policy", "apply", "-f", policy_file, "--yes", "--plan", digest, "--allow-delete", 4)[0] == 0
    policy_file.write_text(POLICY.replace("social.example.com", "login.microsoftonline.com"))
    status, out, err = tabane("policy", "apply", "-f", policy_file, "--yes")
    assert status == 1
    assert "stops [sign-in-blocked] /web_filter/deny_list" in out
    assert "lint" in err or "override" in err
    words = ("--override", "sign-in-blocked", "--reason", "meant")
    assert tabane("policy", "apply", "-f", policy_file, "--yes", *words)[0] == 0


def test_an_exception_at_the_command_line_shows_in_the_explanation(tabane, policy_file, tmp_path, district, session):
    """Asked by one, approved by another, ended by anybody."""
    tabane("policy", "apply", "-f", policy_file, "--yes")
    tabane("rollout", "start", "--policy", "district", "--target", "fleet")
    fragment = tmp_path / "leave.yaml"
    fragment.write_text(
        "set: {usb: {external_storage: allow}}\nwithout: {web_filter: {deny_list: [social.example.com]}}\n"
    )
    ask = ("policy", "exception", "request", "--place", "school=0101", "-f", fragment, "--reason", "microscopes")
    status, out, _ = tabane(*ask, "--days", 7, "--json")
    asked = json.loads(out)["id"]
    assert (status, json.loads(out)["state"]) == (0, "pending")
    status, _, err = tabane("policy", "exception", "approve", asked)
    assert (status, "second person" in err) == (1, True)
    exceptions.approve(session, district.operator(), asked)
    session.commit()
    assert "active" in tabane("policy", "exception", "list")[1]
    out = tabane("policy", "explain", "--serial", "a")[1]
    assert f'/usb/external_storage: "allow"  (strictest: exception {asked} [school=0101])' in out
    assert f"(union: district [fleet], exception {asked} [school=0101])" in out
    assert "layers: fleet < school=0101 < class=0101/6/1 < serial=A" in out
    assert "ended" in tabane("policy", "exception", "end", asked)[1]
    assert "exception" not in tabane("policy", "explain", "--serial", "a")[1]
    fragment.write_text("usb: {external_storage: allow}\n")
    assert "must hold `set:`" in tabane(*ask, "--days", 7)[2]


def test_a_tablets_file_is_compiled_with_what_else_speaks_to_it(tabane, policy_file, tmp_path):
    """The stored layers and the tablet's facts come from the server, passwords do not."""
    stored = POLICY + "wifi: {networks: [{ssid: school, security: wpa2, password: invented-secret}]}\n"
    policy_file.write_text(stored)
    tabane("policy", "apply", "-f", policy_file, "--yes")
    tabane("rollout", "start", "--policy", "district", "--target", "fleet")
    near = tmp_path / "class.yaml"
    near.write_text('version: 1\nname: six-one\nlayer: {class: "0101/6/1"}\nweb_filter: {deny_list: [b.jp]}\n')
    folder = tmp_path / "out"
    status, _, err = tabane("policy", "compile", "-f", near, "--serial", "A", "--out", folder)
    assert (status, err) == (0, "")
    profile = plistlib.loads((folder / "tabane.policy.web-filter.mobileconfig").read_bytes())
    denied = profile["PayloadContent"][0]["DenyListURLs"]
    assert denied == ["b.jp", "social.example.com", "video.example.net/shorts/"]
    assert not any(b"invented-secret" in each.read_bytes() for each in folder.iterdir())
    assert any(b"(hidden)" in each.read_bytes() for each in folder.iterdir())
    assert json.loads((folder / "cannot.json").read_text()) == []


@pytest.fixture
def offline(monkeypatch, capsys):
    """Run the command without any server or sign-in."""
    monkeypatch.setenv("TABANE_CREDENTIALS", "/nonexistent")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tabane", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return run


def test_a_file_is_compiled_without_a_server(offline, policy_file, tmp_path):
    """For each platform, with what cannot be done beside it; the same file gives the same bytes."""
    policy_file.write_text(POLICY + "apps: {allowlist: [{bundle_id: com.apple.Preferences}]}\n")
    words = ("policy", "compile", "-f", policy_file, "--platform")
    facts = ("--unsupervised", "--os-version", "14.0")
    for folder in ("one", "two"):
        assert offline(*words, "apple", "--out", tmp_path / folder)[0] == 0
    one, two = ({each.name: each.read_bytes() for each in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert "tabane.policy.usb.mobileconfig" in one
    assert offline(*words, "apple", "--out", tmp_path / "old", *facts)[0] == 0
    cannot = json.loads((tmp_path / "old" / "cannot.json").read_text())
    assert "/apps/allowlist" in {wish["pointer"] for wish in cannot}
    assert offline(*words, "android", "--out", tmp_path / "android")[0] == 0
    (policy,) = [each for each in (tmp_path / "android").iterdir() if each.name != "cannot.json"]
    assert json.loads(policy.read_text())
    assert offline("policy", "compile", "-f", policy_file, "--out", tmp_path / "x")[0] == 2


def test_one_place_of_a_file_with_several_is_chosen(offline, policy_file, tmp_path):
    """Two classes in one file are two tablets' policies."""
    rooms = "---\nversion: 1\nname: r{0}\nlayer: {{class: 0101/6/{0}}}\nweb_filter: {{deny_list: [r{0}.jp]}}\n"
    policy_file.write_text(POLICY + rooms.format(1) + rooms.format(2))
    words = ("policy", "compile", "-f", policy_file, "--platform", "apple", "--out", tmp_path / "out")
    status, _, err = offline(*words)
    assert (status, "--layer" in err) == (2, True)
    assert offline(*words, "--layer", "class=0101/6/2")[0] == 0
    profile = plistlib.loads((tmp_path / "out" / "tabane.policy.web-filter.mobileconfig").read_bytes())
    assert profile["PayloadContent"][0]["DenyListURLs"] == ["r2.jp", "social.example.com", "video.example.net/shorts/"]


def test_the_schema_and_the_presets_need_no_server(offline):
    """An editor completes with one, a district starts from the other."""
    assert "web_filter" in json.loads(offline("policy", "schema")[1])["properties"]
    assert {each["name"] for each in json.loads(offline("policy", "preset", "list", "--json")[1])} == set(
        presets.names()
    )
    assert files.load(offline("policy", "preset", "show", "giga-baseline")[1])[0] == presets.load("giga-baseline")
    assert offline("policy", "preset", "show", "nothing")[0] == 1
