"""The compiler for iPadOS: exact keys, gates, and bytes that only change when the policy does."""

import plistlib

import pytest

from profiles import apple
from profiles.compiled import Cannot, Facts
from profiles.layers import merge
from profiles.sections import Sections

NEWEST = apple.facts(supervised=True, os_version="26.1")
FULL = {
    "apps": {"allowlist": [{"bundle_id": "com.apple.Preferences"}, {"bundle_id": "b.b", "label": "B"}]},
    "store": dict.fromkeys(apple.SWITCHES["store"], "deny"),
    "usb": {"external_storage": "deny", "host_pairing": "allow"},
    "web_filter": {
        "adult_filter": True,
        "deny_list": ["b.example.com", "a.example.com"],
        "allow_list": ["c.example.com"],
        "only_sites": [{"url": "https://z.example.com", "title": "Z"}, {"url": "https://y.example.com", "title": "Y"}],
    },
}


def compiled(sections, facts=NEWEST):
    return apple.compile_policy(Sections.model_validate(sections), facts)


def payloads(outcome):
    """Each profile's single payload without its envelope keys, by the profile's identifier."""
    found = {}
    for artifact in outcome.artifacts:
        (payload,) = plistlib.loads(artifact.body)["PayloadContent"]
        envelope = {"PayloadIdentifier", "PayloadUUID", "PayloadVersion"}
        found[artifact.identifier] = {key: value for key, value in payload.items() if key not in envelope}
    return found


def test_each_section_becomes_one_profile_with_the_documented_keys():
    """Golden values: the spelling of every key and the type of every value."""
    assert payloads(compiled(FULL)) == {
        "tabane.policy.apps": {
            "PayloadType": "com.apple.applicationaccess",
            "allowListedAppBundleIDs": ["b.b", "com.apple.Preferences"],
        },
        "tabane.policy.store": {
            "PayloadType": "com.apple.applicationaccess",
            "allowAppInstallation": False,
            "allowUIAppInstallation": False,
            "allowAppRemoval": False,
            "allowSystemAppRemoval": False,
            "allowInAppPurchases": False,
            "allowiTunes": False,
            "allowBookstore": False,
            "allowAppClips": False,
            "allowAutomaticAppDownloads": False,
            "allowEnterpriseAppTrust": False,
            "allowMarketplaceAppInstallation": False,
            "allowWebDistributionAppInstallation": False,
            "allowUIConfigurationProfileInstallation": False,
            "allowAccountModification": False,
        },
        "tabane.policy.usb": {
            "PayloadType": "com.apple.applicationaccess",
            "allowFilesUSBDriveAccess": False,
            "allowHostPairing": True,
        },
        "tabane.policy.web-filter": {
            "PayloadType": "com.apple.webcontent-filter",
            "FilterType": "BuiltIn",
            "AutoFilterEnabled": True,
            "PermittedURLs": ["c.example.com"],
            "DenyListURLs": ["a.example.com", "b.example.com"],
            "AllowListBookmarks": [
                {"Title": "Z", "URL": "https://z.example.com"},
                {"Title": "Y", "URL": "https://y.example.com"},
            ],
        },
    }


def test_the_envelope_is_a_configuration_that_cannot_be_removed_by_hand():
    """The outer keys that InstallProfile needs."""
    (artifact,) = compiled({"usb": {"host_pairing": "deny"}}).artifacts
    profile = plistlib.loads(artifact.body, fmt=plistlib.FMT_XML)
    assert profile["PayloadType"] == "Configuration"
    assert profile["PayloadVersion"] == 1
    assert profile["PayloadIdentifier"] == artifact.identifier == "tabane.policy.usb"
    assert profile["PayloadRemovalDisallowed"] is True
    assert profile["PayloadContent"][0]["PayloadIdentifier"] == "tabane.policy.usb.payload"
    assert profile["PayloadUUID"] != profile["PayloadContent"][0]["PayloadUUID"]


def test_the_bytes_are_the_same_in_every_process():
    """A golden digest: a change of this value reinstalls every profile of the fleet, so it is made on purpose."""
    (artifact,) = compiled({"usb": {"host_pairing": "deny"}}).artifacts
    assert plistlib.loads(artifact.body)["PayloadUUID"] == "A6514B48-4CED-5518-8EA4-59B60CBF2146"


@pytest.mark.parametrize(
    ("section", "change", "identifier"),
    [
        ("apps", {"allowlist": [{"bundle_id": "c.c"}]}, "tabane.policy.apps"),
        ("store", {"storefront": "deny"}, "tabane.policy.store"),
        ("usb", {"external_storage": "allow"}, "tabane.policy.usb"),
        ("web_filter", {"deny_list": ["new.example.com"]}, "tabane.policy.web-filter"),
    ],
)
def test_changing_one_section_changes_one_artifact_only(section, change, identifier):
    """The other profiles are not installed again."""
    before = {artifact.identifier: artifact.body for artifact in compiled(FULL).artifacts}
    after = {artifact.identifier: artifact.body for artifact in compiled(FULL | {section: change}).artifacts}
    assert [key for key in before if before[key] != after[key]] == [identifier]


def test_a_label_or_the_order_of_a_list_changes_nothing():
    """Only what reaches a tablet counts."""
    relabelled = {"apps": {"allowlist": [{"bundle_id": "b.b"}, {"bundle_id": "com.apple.Preferences", "label": "S"}]}}
    assert compiled(FULL | relabelled) == compiled(FULL)


def test_an_unsupervised_tablet_is_told_what_it_cannot_do():
    """Nearly everything needs supervision; what remains is delivered."""
    outcome = compiled(FULL, apple.facts(supervised=False, os_version="26.1"))
    assert payloads(outcome) == {
        "tabane.policy.store": {
            "PayloadType": "com.apple.applicationaccess",
            "allowInAppPurchases": False,
            "allowEnterpriseAppTrust": False,
        }
    }
    assert Cannot("/apps/allowlist", "only a supervised tablet can do this") in outcome.cannot
    assert "/usb/host_pairing" not in {wish.pointer for wish in outcome.cannot}, "an allowance is never out of reach"


@pytest.mark.parametrize(
    ("version", "missing"),
    [
        ("26.1", []),
        ("17.4.1", ["/store/web_distribution"]),
        ("16.7", ["/store/other_marketplaces", "/store/web_distribution"]),
        (
            "14.4",
            [
                "/apps/allowlist",
                "/store/other_marketplaces",
                "/store/web_distribution",
                "/web_filter/deny_list",
                "/web_filter/only_sites",
            ],
        ),
    ],
)
def test_an_old_system_is_told_the_version_it_needs(version, missing):
    """Minimum versions of the vendor's schema."""
    outcome = compiled(FULL, apple.facts(supervised=True, os_version=version))
    assert [wish.pointer for wish in outcome.cannot] == missing
    assert all("needs iPadOS" in wish.reason for wish in outcome.cannot)


def test_exceptions_without_the_adult_filter_are_not_sent():
    """PermittedURLs is only read together with AutoFilterEnabled."""
    outcome = compiled({"web_filter": {"allow_list": ["a.jp"], "deny_list": ["b.jp"]}})
    assert payloads(outcome)["tabane.policy.web-filter"].keys() == {"PayloadType", "FilterType", "DenyListURLs"}
    assert [wish.pointer for wish in outcome.cannot] == ["/web_filter/allow_list"]


def test_sections_without_a_word_give_no_profile():
    """An empty web filter would still be a filter."""
    assert compiled({"web_filter": {"deny_list": []}, "usb": {}, "apps": {}, "store": {}}).artifacts == ()


def test_more_deny_entries_than_a_tablet_takes_are_cut_in_the_open():
    """A union of layers may grow; the tablet gets 500 and the operator the number of the rest."""
    a, b = (Sections.model_validate({"web_filter": {"deny_list": [f"{x}{n}.jp" for n in range(300)]}}) for x in "ab")
    outcome = apple.compile_policy(merge(a, b), NEWEST)
    assert len(payloads(outcome)["tabane.policy.web-filter"]["DenyListURLs"]) == 500
    assert outcome.cannot == (Cannot("/web_filter/deny_list", "100 entries more than the 500 a tablet takes"),)


@pytest.mark.parametrize(
    ("version", "tier"),
    [
        ("27.1", (27,)),
        ("26.1", (26,)),
        ("18.4", (18, 2)),
        ("17.5", (17, 5)),
        ("17.4.9", (17, 4)),
        ("16.0", (16,)),
        ("12.5", ()),
        ("garbage", ()),
        ("", ()),
    ],
)
def test_versions_fall_into_few_tiers(version, tier):
    """15,000 tablets on many point releases share a handful of facts."""
    assert apple.facts(supervised=True, os_version=version) == Facts(supervised=True, os=tier)


def test_what_is_not_known_yet_counts_as_supervised_and_newest():
    """A tablet that has not reported gets the whole policy."""
    assert apple.facts(supervised=None, os_version=None) == NEWEST
