"""The compiler for Android: what it writes is what Google describes, and its traps are avoided."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles import android
from profiles.android import browser, switches
from profiles.android.discovery import faults, schemas
from profiles.android.rules import broken
from profiles.compiled import Facts
from profiles.sections import Sections
from profiles.urls import chrome_finds
from tests.profiles import android_golden
from tests.profiles.documents import SECTIONS

ROOT = Path(__file__).resolve().parents[2]
NEWEST = android.facts(supervised=True, os_version=None)
POLICIES = android_golden.policies()
ONC = {
    "": {"NetworkConfigurations", "Certificates"},
    "NetworkConfigurations": {"GUID", "Name", "Type", "WiFi", "ProxySettings"},
    "WiFi": {"SSID", "HiddenSSID", "AutoConnect", "Security", "Passphrase", "EAP", "MACAddressRandomizationMode"},
    "EAP": {"Outer", "Inner", "Identity", "Password", "DomainSuffixMatch", "ServerCARefs"},
    "ProxySettings": {"Type", "Manual"},
    "Manual": {"HTTPProxy", "SecureHTTPProxy"},
    "HTTPProxy": {"Host", "Port"},
    "SecureHTTPProxy": {"Host", "Port"},
    "Certificates": {"GUID", "Type", "X509"},
}
"""What Android takes of Open Network Configuration (developers.google.com/android/management/configure-networks)."""

CHROME = {
    "DnsOverHttpsMode": str,
    "ForceGoogleSafeSearch": bool,
    "ForceYouTubeRestrict": str,
    "IncognitoModeAvailability": str,
    "SafeSitesFilterBehavior": str,
    "URLAllowlist": str,
    "URLBlocklist": str,
}
"""What Chrome on Android takes (`android:` in chromium's policy_definitions), in a managed configuration's types."""

ENTRIES = [
    f"{scheme}{host}{path}"
    for scheme in ("", "http://", "https://")
    for host in ("a.jp", "b.a.jp", "www.a.jp", "ba.jp", "a.jp:8080")
    for path in ("", "/", "/x", "/x/y")
]


def compiled(body: dict, facts: Facts = NEWEST) -> tuple[dict, dict[str, str]]:
    """The policy, and what cannot be, by pointer."""
    outcome = android.compile_policy(Sections.model_validate(body), facts)
    (artifact,) = outcome.artifacts
    return json.loads(artifact.body), {wish.pointer: wish.reason for wish in outcome.cannot}


def apps_of(policy: dict) -> dict[str, str]:
    return {app["packageName"]: app["installType"] for app in policy.get("applications", [])}


def strangers(part: object, of: str = "") -> set[str]:
    """The names in a network configuration that Android does not take."""
    if isinstance(part, list):
        return set().union(*(strangers(each, of) for each in part))
    if not isinstance(part, dict):
        return set()
    return (part.keys() - ONC[of]) | set().union(*(strangers(value, name) for name, value in part.items()))


@pytest.mark.parametrize("name", POLICIES)
def test_the_outcome_is_the_golden_one(name):
    """Anew by `python -m tests.profiles.android_golden`, on purpose: a changed digest is a patch for every tablet."""
    written = (android_golden.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert android_golden.golden(POLICIES[name]) == written


def test_there_is_a_golden_file_for_each_policy_and_no_other():
    """A file that nothing compares would look like a promise."""
    assert {path.stem for path in android_golden.FOLDER.glob("*.json")} == set(POLICIES)
    assert len(POLICIES) >= 30


def test_another_process_writes_the_same_bytes():
    """Neither the order of a set nor the hash seed of a process shows in a policy."""
    code = "from tests.profiles import android_golden as g; print(*(g.golden(p) for p in g.policies().values()))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {(" ".join(android_golden.golden(policy) for policy in POLICIES.values()) + "\n").encode()}


@given(said=SECTIONS, managed=st.booleans(), version=st.sampled_from(["7", "9", "11", "12", "14", "15", "16", None]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_policy_is_one_that_google_describes(said, managed, version):
    """Whatever the document says: no unknown, deprecated or mistyped field, and no rule of the prose broken."""
    (artifact,) = android.compile_policy(said, android.facts(supervised=managed, os_version=version)).artifacts
    policy = json.loads(artifact.body)
    assert faults(policy) == []
    assert broken(policy) == []
    assert strangers(policy.get("openNetworkConfiguration", {})) == set()
    for app in policy.get("applications", []):
        if app["packageName"] == "com.android.chrome":
            assert all(type(value) is CHROME[key] for key, value in app.get("managedConfiguration", {}).items())


@pytest.mark.parametrize("name", POLICIES)
def test_every_golden_policy_is_one_that_google_describes(name):
    """The same for the policies that people read."""
    for told in json.loads(android_golden.golden(POLICIES[name])):
        assert faults(told["policy"]) == []
        assert broken(told["policy"]) == []
        assert strangers(told["policy"].get("openNetworkConfiguration", {})) == set()


def test_a_typo_in_a_table_of_the_compiler_would_be_found(monkeypatch):
    """The check sees what the compiler writes: one wrong letter in one setting fails it."""
    wrong = {"usb": {"bluetooth": switches.Setting("bluetoothDisable", strict=True)}}
    monkeypatch.setattr(switches, "SETTINGS", wrong)
    policy, _ = compiled({"usb": {"bluetooth": "deny"}})
    assert [fault.pointer for fault in faults(policy)] == ["/bluetoothDisable"]


def test_each_tier_is_the_gate_of_some_setting():
    """Facts that no setting asks for would split manifests for nothing, and a gate between tiers would be missed."""
    outcomes = [
        {
            name: android.compile_policy(policy, android.facts(supervised=True, os_version=str(version))).artifacts
            for name, policy in POLICIES.items()
        }
        for version in range(7, 20)
    ]
    steps = {
        version for version, before, after in zip(range(8, 20), outcomes, outcomes[1:], strict=False) if before != after
    }
    assert steps == set(android._TIERS)


def test_a_policy_that_says_nothing_uninstalls_nothing():
    """Google's default is WHITELIST, under which everything unlisted goes; so the mode is always written."""
    policy, cannot = compiled({})
    assert policy["playStoreMode"] == "BLACKLIST"
    assert cannot == {}


def test_an_allowlist_without_android_names_is_left_out():
    """A list that names only iPads' applications must not empty Android tablets."""
    policy, cannot = compiled({"apps": {"allowlist": [{"bundle_id": "a.a", "label": "Drill"}]}})
    assert policy["playStoreMode"] == "BLACKLIST"
    assert "uninstall everything" in cannot["/apps/allowlist"]


def test_what_is_denied_stays_denied():
    """Of several lists that name one application, the denial wins, whatever section it stands in."""
    policy, cannot = compiled(
        {
            "apps": {
                "allowlist": [{"package": "a.a"}, {"package": "com.facebook.katana"}],
                "required": [{"package": "a.a"}],
                "denylist": [{"package": "a.a"}],
            },
            "sns_mail": {"facebook": "deny"},
            "exam": {"single_app": {"app": {"package": "a.a"}, "ends_at": "2026-12-01T12:00:00+09:00"}},
        }
    )
    found = apps_of(policy)
    assert found["a.a"] == found["com.facebook.katana"] == "BLOCKED"
    assert cannot["/exam/single_app"] == "a.a is denied"


def test_installs_by_tabane_are_never_stopped():
    """Not even by a policy that denies installing: the deprecated and the dangerous switches are never written."""
    everything = dict.fromkeys(Sections.model_fields["store"].annotation.__args__[0].model_fields, "deny")
    everything = {
        name: word
        for name, word in everything.items()
        if name not in ("scan_apps", "app_rating_limit", "rating_region")
    }
    policy, cannot = compiled({"store": everything, "apps": {"allowlist": [{"package": "a.a"}]}})
    assert "installAppsDisabled" not in policy
    assert "/store/install_apps" in cannot
    assert "com.android.vending" not in apps_of(policy)


def test_deleting_is_only_stopped_where_nothing_is_to_go():
    """`uninstallAppsDisabled` would keep what the policy removes."""
    kept, _ = compiled({"store": {"remove_apps": "deny"}})
    both, cannot = compiled({"store": {"remove_apps": "deny"}, "apps": {"removed": [{"package": "a.a"}]}})
    assert kept["uninstallAppsDisabled"] is True
    assert "uninstallAppsDisabled" not in both
    assert "/store/remove_apps" in cannot


def test_home_networks_are_never_forgotten():
    """Adding networks is denied with the value that keeps the known ones, on new tablets; on old ones not at all."""
    new, _ = compiled({"wifi": {"adding": "deny"}})
    old, cannot = compiled({"wifi": {"adding": "deny"}}, android.facts(supervised=True, os_version="12"))
    assert new["deviceConnectivityManagement"] == {"configureWifi": "DISALLOW_ADD_WIFI_CONFIG"}
    assert "deviceConnectivityManagement" not in old
    assert cannot == {"/wifi/adding": "needs Android 13 or newer"}


def test_conflicting_access_points_are_left_out():
    """Google would reject the whole policy for them, the passcode and the filter included."""
    policy, cannot = compiled({"cellular": {"apns": [{"apn": "a", "name": "1"}, {"apn": "a", "name": "2"}]}})
    assert "deviceConnectivityManagement" not in policy
    assert cannot["/cellular/apns"].startswith("left out: two settings conflict")


def test_what_google_enforces_by_itself_waits_as_long_as_may_be():
    """A passcode comes with a rule of our own, with both actions, and the administrator is told."""
    policy, cannot = compiled({"passcode": {"required": True}})
    (rule,) = policy["policyEnforcementRules"]
    assert rule["settingName"] == "passwordPolicies"
    assert (rule["blockAction"]["blockAfterDays"], rule["wipeAction"]["wipeAfterDays"]) == (29, 30)
    assert "resets it after 30" in cannot["/passcode"]
    assert "policyEnforcementRules" not in compiled({"passcode": {"lock_after_minutes": 5}})[0]


def test_a_tablet_is_not_reset_for_being_old():
    """A minimum level of the system would block and reset tablets that cannot update."""
    policy, cannot = compiled({"updates": {"minimum_android_api": 34}})
    assert "minimumApiLevel" not in policy
    assert "/updates/minimum_android_api" in cannot


def test_the_deny_list_wins_over_exceptions_in_chrome_too():
    """Chrome lets the narrower filter win, so an exception inside a denied host is not handed on."""
    policy, _ = compiled(
        {
            "web_filter": {
                "adult_filter": True,
                "deny_list": ["www.games.example.com", "example.jp/chat/"],
                "allow_list": ["kids.games.example.com", "example.jp", "example.jp/chat/x", "http://games.example.com"],
            }
        }
    )
    (chrome,) = policy["applications"]
    said = chrome["managedConfiguration"]
    assert json.loads(said["URLBlocklist"]) == ["example.jp/chat/", "games.example.com"]
    assert json.loads(said["URLAllowlist"]) == ["example.jp"]
    assert said["SafeSitesFilterBehavior"] == "1"


@given(
    denied=st.lists(st.sampled_from(ENTRIES), max_size=4),
    allowed=st.lists(st.sampled_from(ENTRIES), max_size=4),
)
def test_an_exception_goes_exactly_when_a_denial_finds_it(denied, allowed):
    """Looking denials up by host gives what comparing each with each would give."""
    plain = [
        entry
        for entry in allowed
        if not any(
            chrome_finds(wide.replace("www.", ""), address)
            for wide in denied
            for address in ([entry] if "://" in entry else [f"https://{entry}", f"http://{entry}"])
        )
    ]
    assert browser._outside(allowed, denied) == plain


def test_long_lists_are_cut_where_chrome_ends_and_said_so():
    """Neither more than a thousand filters nor more text than Google takes, and the number is told."""
    many = [f"https://h{number}.example.com/{'x' * 900}" for number in range(400)]
    policy, cannot = compiled({"web_filter": {"deny_list": many}})
    (chrome,) = policy["applications"]
    text = chrome["managedConfiguration"]["URLBlocklist"]
    kept = len(json.loads(text))
    assert len(text) <= 65_535
    assert 0 < kept < 400
    assert cannot["/web_filter/deny_list"].startswith(f"{400 - kept} entries more")


def test_a_filter_without_a_browser_is_owned_up_to():
    """Chrome that no list has is not smuggled in for its filter's sake."""
    policy, cannot = compiled({"apps": {"allowlist": [{"package": "a.a"}]}, "web_filter": {"adult_filter": True}})
    assert apps_of(policy) == {"a.a": "AVAILABLE"}
    assert "com.android.chrome" in cannot["/web_filter/adult_filter"]


def test_more_applications_than_google_takes_are_cut_and_said_so():
    """Denials, required applications and the browser with its filter stay; what is merely offered goes."""
    lists = {
        name: [{"package": f"com.{name}.p{number}"} for number in range(1000)]
        for name in ("allowlist", "denylist", "required", "removed")
    }
    lists["allowlist"][-1] = {"package": "com.android.chrome"}
    policy, cannot = compiled({"apps": lists, "web_filter": {"adult_filter": True}})
    left = apps_of(policy)
    assert faults(policy) == broken(policy) == []
    assert cannot["/apps"].startswith("1000 applications more")
    assert "com.android.chrome" in left
    assert list(left.values()).count("BLOCKED") == 2000


def test_the_control_number_never_splits_policies():
    """Tablets with different numbers get the same policy, and the lack is told."""
    body = {"screen": {"lock_text": "No. {control_number} {desk_phone}", "desk_phone": "03-0000-0000"}}
    facts = {android.facts(supervised=True, os_version="16", control_number=number) for number in ("T1", "T2", None)}
    assert len(facts) == 1
    policy, cannot = compiled(body, facts.pop())
    assert policy["deviceOwnerLockScreenInfo"] == {"defaultMessage": "No.  03-0000-0000"}
    assert "/screen/lock_text" in cannot


def test_secrets_stay_in_the_artifact():
    """Passwords reach the policy and no reason that people read."""
    for name in ("wifi-networks", "cellular-apn", "vpn-and-proxy", "web-plugin", "wifi-enterprise"):
        outcome = android.compile_policy(POLICIES[name], NEWEST)
        assert "invented-secret" not in repr(outcome.cannot)


def test_the_documentation_names_fields_that_exist():
    """Each sentence begins with the field it speaks of, as Google describes it."""
    loose = ("cannot: ", "nothing", "managedConfiguration of com.android.chrome: ", "filled into")
    said = [sentence for sentence in android.support().values() if not sentence.startswith(loose)]
    assert len(said) > 60
    for sentence in said:
        schema = "Policy"
        for step in re.match(r"[A-Za-z.\[\]]+", sentence)[0].removesuffix(".").split("."):
            field = schemas()[schema]["properties"].get(step.removesuffix("[]")) if schema else {}
            assert field is not None, sentence
            assert not field.get("deprecated"), sentence
            schema = field.get("$ref") or field.get("items", {}).get("$ref")


def test_the_documentation_names_the_keys_that_chrome_has():
    """The same for Chrome's own settings."""
    start = "managedConfiguration of com.android.chrome: "
    said = [sentence.removeprefix(start) for sentence in android.support().values() if sentence.startswith(start)]
    keys = [re.match(r"\w+", sentence)[0] for sentence in said]
    assert set(keys) <= set(CHROME)
    assert len(keys) > 5
