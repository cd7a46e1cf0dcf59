"""The parts of the iPadOS compiler where more than one field or more than one tablet meet."""

import plistlib
from dataclasses import replace
from datetime import datetime

import pytest
from cryptography import x509

from profiles import apple, presets
from profiles.compiled import Cannot
from profiles.sections import Sections
from tests.profiles.apple_keys import objections
from tests.profiles.documents import PEM

NEWEST = apple.facts(supervised=True, os_version=None)
AUTHORITY = {"authorities": [{"name": "School CA", "pem": PEM}]}


def compiled(sections, facts=NEWEST):
    return apple.compile_policy(Sections.model_validate(sections), facts)


def profiles(outcome):
    """The decoded profiles by the last part of their identifiers."""
    return {
        artifact.identifier.removeprefix("tabane.policy."): plistlib.loads(artifact.body)
        for artifact in outcome.artifacts
    }


def only_payload(outcome, name):
    (payload,) = profiles(outcome)[name]["PayloadContent"]
    return payload


def test_a_control_number_costs_one_profile_of_its_own_and_no_other():
    """Two tablets of one policy share every profile except the lock screen that names them."""
    policy = {
        "screen": {"lock_text": "{control_number} / {desk_phone}", "desk_phone": "03-0000-0000"},
        "usb": {"external_storage": "deny"},
        "web_filter": {"adult_filter": True},
    }
    outcomes = [compiled(policy, replace(NEWEST, control_number=number)) for number in ("T-0001", "T-0002")]
    assert only_payload(outcomes[0], "lock-screen")["LockScreenFootnote"] == "T-0001 / 03-0000-0000"
    one, other = ({artifact.identifier: artifact.body for artifact in outcome.artifacts} for outcome in outcomes)
    assert [name for name in one if one[name] != other[name]] == ["tabane.policy.lock-screen"]


def test_a_policy_without_the_control_number_compiles_the_same_for_every_tablet():
    """A number that is given although nothing names it changes no byte."""
    policy = {"screen": {"lock_text": "{desk_phone}", "desk_phone": "03-0000-0000"}}
    assert compiled(policy) == compiled(policy, replace(NEWEST, control_number="T-0001"))


def test_a_control_number_that_is_not_known_is_said():
    """The text still names the desk."""
    outcome = compiled({"screen": {"lock_text": "{control_number} {desk_phone}", "desk_phone": "03-0000-0000"}})
    assert only_payload(outcome, "lock-screen")["LockScreenFootnote"] == "03-0000-0000"
    assert [wish.pointer for wish in outcome.cannot] == ["/screen/lock_text"]


def test_a_denied_application_leaves_the_allowlist():
    """One list on a tablet, and a denial of any layer wins."""
    outcome = compiled(
        {"apps": {"allowlist": [{"bundle_id": "a.a"}, {"bundle_id": "b.b"}], "denylist": [{"bundle_id": "b.b"}]}}
    )
    payload = only_payload(outcome, "apps")
    assert payload["allowListedAppBundleIDs"] == ["a.a"]
    assert "blockedAppBundleIDs" not in payload


def test_an_allowlist_of_denied_applications_opens_nothing():
    """Both lists together, because an empty list could be read as no list."""
    payload = only_payload(
        compiled({"apps": {"allowlist": [{"bundle_id": "a.a"}], "denylist": [{"bundle_id": "a.a"}]}}), "apps"
    )
    assert payload["allowListedAppBundleIDs"] == payload["blockedAppBundleIDs"] == ["a.a"]


def test_an_allowlist_that_a_tablet_is_too_old_for_still_denies_nothing_silently():
    """The allowlist and the denial are both told."""
    outcome = compiled(
        {"apps": {"allowlist": [{"bundle_id": "a.a"}]}, "sns_mail": {"line": "deny"}},
        apple.facts(supervised=True, os_version="14.8"),
    )
    assert [wish.pointer for wish in outcome.cannot] == ["/apps/allowlist", "/sns_mail/line"]
    assert list(profiles(outcome)) == ["sns-mail-sites"]


def test_an_examination_ends_by_itself_on_the_tablet():
    """RemovalDate is the end of the sitting in UTC, so a tablet that is out of reach is free again in time."""
    sitting = {"app": {"bundle_id": "com.example.exam"}, "ends_at": "2026-12-01T10:30:00+09:00"}
    profile = profiles(compiled({"exam": {"single_app": sitting}}))["exam"]
    assert profile["RemovalDate"] == datetime(2026, 12, 1, 1, 30)  # noqa: DTZ001  # plists have no zones
    assert profile["PayloadContent"][0]["App"] == {"Identifier": "com.example.exam"}


def test_a_network_carries_the_certificates_that_it_names():
    """The authority is copied into the profile of the networks, and named there by its UUID."""
    network = {"ssid": "radius", "enterprise": {"method": "peap", "trusted": ["School CA", "Nobody"]}}
    outcome = compiled({"certificates": AUTHORITY, "wifi": {"networks": [network]}})
    authority, wifi = profiles(outcome)["wifi"]["PayloadContent"]
    assert wifi["EAPClientConfiguration"]["PayloadCertificateAnchorUUID"] == [authority["PayloadUUID"]]
    assert x509.load_der_x509_certificate(authority["PayloadContent"]) == x509.load_pem_x509_certificate(PEM.encode())
    assert [wish.pointer for wish in outcome.cannot] == ["/wifi/networks/0/enterprise/trusted/1"]


def test_a_network_that_needs_an_identity_is_left_out_whole():
    """Half of it would ask every pupil for a password that does not exist."""
    network = {"ssid": "identity", "enterprise": {"method": "tls"}}
    outcome = compiled({"wifi": {"networks": [network]}})
    assert outcome.artifacts == ()
    assert [wish.pointer for wish in outcome.cannot] == ["/wifi/networks/0/enterprise/method"]


def test_a_name_server_is_not_used_in_the_named_networks_and_is_everywhere_else():
    """The first rule that matches decides, so LTE comes to the last one."""
    dns = {"url": "https://dns.example.jp/dns-query", "not_on_wifi": ["school"]}
    rules = only_payload(compiled({"web_filter": {"dns": dns}}), "dns")["OnDemandRules"]
    assert rules == [
        {"Action": "Disconnect", "InterfaceTypeMatch": "WiFi", "SSIDMatch": ["school"]},
        {"Action": "Connect"},
    ]


def test_an_unsupervised_tablet_gets_the_name_server_without_the_lock():
    """What remains is delivered, and what is missing is told by its own pointer."""
    outcome = compiled(
        {"web_filter": {"dns": {"host": "dns.example.jp"}}}, apple.facts(supervised=False, os_version=None)
    )
    assert "ProhibitDisablement" not in only_payload(outcome, "dns")
    assert outcome.cannot == (Cannot("/web_filter/dns/locked", "only a supervised tablet can do this"),)


def test_a_page_on_the_home_screen_comes_with_its_web_clip():
    """The layout alone would leave a hole: it creates no web clips. In a folder too, and each page once."""
    link = {"link": {"url": "https://desk.example.jp", "title": "Desk"}}
    home = {"pages": [[link, {"folder": {"title": "F", "pages": [[link]]}}]]}
    *clips, layout = profiles(compiled({"screen": {"home": home}}))["home-screen"]["PayloadContent"]
    assert [clip["URL"] for clip in clips] == ["https://desk.example.jp"]
    clip = {"Type": "WebClip", "URL": "https://desk.example.jp"}
    assert layout["Pages"] == [[clip, {"Type": "Folder", "DisplayName": "F", "Pages": [[clip]]}]]


def test_a_character_that_xml_cannot_write_does_not_stop_the_rollout():
    """One stray control character in a name is dropped; the rest of the policy is delivered."""
    networks = [{"ssid": "sch\x01ool"}]
    (payload,) = profiles(compiled({"wifi": {"networks": networks}}))["wifi"]["PayloadContent"]
    assert payload["SSID_STR"] == "school"


def test_a_number_that_a_profile_cannot_hold_is_told():
    """Only that setting of the filter application is left out."""
    plugin = {"name": "F", "bundle_id": "a.a", "settings": {"huge": 1 << 64, "level": 3}}
    outcome = compiled({"web_filter": {"plugin": plugin}})
    assert only_payload(outcome, "web-filter-plugin")["VendorConfig"] == {"level": 3}
    assert [wish.pointer for wish in outcome.cannot] == ["/web_filter/plugin/settings/huge"]


@pytest.mark.parametrize(
    ("section", "field", "name"),
    [
        ("cellular", {"apns": [{"apn": "a.example", "name": "A", "password": "invented-1"}]}, "apn"),
        ("vpn_proxy", {"proxy": {"server": "p.example.jp", "port": 1, "password": "invented-1"}}, "proxy"),
        ("wifi", {"networks": [{"ssid": "s", "password": "invented-1"}]}, "wifi"),
    ],
)
def test_a_password_reaches_the_tablet_and_no_message(section, field, name):
    """The profile holds it in plain text, as the tablet needs it; nothing else of the outcome does."""
    outcome = compiled({section: field})
    (artifact,) = outcome.artifacts
    assert artifact.identifier == f"tabane.policy.{name}"
    assert b"invented-1" in artifact.body
    assert "invented-1" not in repr(outcome.cannot)


def test_the_usual_access_point_stays_when_its_title_changes():
    """The tablet shows no title, so a change of it installs nothing again and cuts nobody off."""
    policies = [{"cellular": {"apns": [{"apn": "a.example", "name": name}]}} for name in ("A", "B")]
    assert compiled(policies[0]) == compiled(policies[1])


def test_every_profile_has_an_identifier_of_its_own():
    """Two sections never write the same profile: the second would take the first one's place on the tablet."""
    everything = {
        "web_filter": {"built_in_browser": "deny", "adult_filter": True},
        "wifi": {"only_these": True, "networks": [{"ssid": "s"}]},
        "passcode": {"required": True, "changes": "deny"},
        "certificates": AUTHORITY,
        "sns_mail": {"line": "deny", "messages": "deny"},
        "apps": {"network_rules": [{"bundle_id": "a.a", "cellular": "deny"}], "denylist": [{"bundle_id": "a.a"}]},
    }
    names = [artifact.identifier for artifact in compiled(everything).artifacts]
    assert len(names) == len(set(names)) == 11


@pytest.mark.parametrize(("version", "can"), [("26.1", True), ("27.0", False), (None, True)])
def test_a_key_that_the_system_took_away_is_told(version, can):
    """From iPadOS 27 updates are delayed by declarations only; a tablet that has not reported yet gets the key."""
    outcome = compiled({"updates": {"delay_days": 30}}, apple.facts(supervised=True, os_version=version))
    assert bool(outcome.artifacts) is can
    reason = "only declarative management can do this from iPadOS 27"
    assert outcome.cannot == (() if can else (Cannot("/updates/delay_days", reason),))


def test_links_on_the_home_screen_need_the_built_in_browser():
    """The publication says that web clips do not open without it, so the clash is told."""
    policy = {
        "screen": {"home": {"pages": [[{"link": {"url": "https://desk.example.jp", "title": "Desk"}}]]}},
        "web_filter": {"built_in_browser": "deny"},
    }
    assert [wish.pointer for wish in compiled(policy).cannot] == ["/screen/home"]


@pytest.mark.parametrize("name", presets.names())
@pytest.mark.parametrize("version", ["15.8", "16.7", "17.7", "18.3", "26.1", "27.0"])
def test_each_preset_becomes_profiles_that_a_supervised_tablet_takes(name, version):
    """What the presets promise is made of published keys only, and something of each is delivered."""
    known = apple.facts(supervised=True, os_version=version, control_number="T-0001")
    outcome = apple.compile_policy(presets.load(name).sections(), known)
    assert outcome.artifacts
    payloads = [payload for profile in profiles(outcome).values() for payload in profile["PayloadContent"]]
    assert [each for payload in payloads for each in objections(payload, supervised=True, version=known.os)] == []
