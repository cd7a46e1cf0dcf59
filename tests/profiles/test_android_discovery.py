"""The check of AMAPI policies against the shipped discovery document, and against the rules that it says in words."""

import pytest

from profiles.android.discovery import Fault, faults, schemas
from profiles.android.rules import broken

GOOD = {
    "applications": [
        {
            "packageName": "com.android.chrome",
            "installType": "FORCE_INSTALLED",
            "installConstraint": [{"networkTypeConstraint": "INSTALL_ONLY_ON_UNMETERED_NETWORK"}],
            "managedConfiguration": {"URLBlocklist": "[]", "anything": {"goes": 1}},
        }
    ],
    "deviceConnectivityManagement": {
        "apnPolicy": {
            "overrideApns": "OVERRIDE_APNS_ENABLED",
            "apnSettings": [{"displayName": "A", "apn": "a.example.com", "apnTypes": ["DEFAULT"]}],
        }
    },
    "deviceOwnerLockScreenInfo": {"defaultMessage": "x", "localizedMessages": {"ja": "y"}},
    "maximumTimeToLock": "300000",
    "passwordPolicies": [{"passwordExpirationTimeout": "86400s", "passwordMinimumLength": 6}],
    "playStoreMode": "WHITELIST",
}


def test_a_sound_policy_has_no_fault():
    """Every kind of value that a policy knows passes when it is right."""
    assert faults(GOOD) == []
    assert broken(GOOD) == []


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"playStoreModes": "WHITELIST"}, Fault("/playStoreModes", "no such field in Policy")),
        ({"cameraDisabled": True}, Fault("/cameraDisabled", "this field is deprecated")),
        ({"version": "1"}, Fault("/version", "Google sets this field")),
        ({"locationMode": "OFF"}, Fault("/locationMode", "OFF is deprecated")),
        ({"applications": [{"installType": "KIOSK"}]}, Fault("/applications/0/installType", "KIOSK is deprecated")),
        ({"complianceRules": [{}]}, Fault("/complianceRules", "this field is deprecated")),
        ({"maximumTimeToLock": 300000}, Fault("/maximumTimeToLock", "must be a whole number written as text")),
        ({"minimumApiLevel": True}, Fault("/minimumApiLevel", "must be a whole number of 32 bits")),
        ({"minimumApiLevel": 2**31}, Fault("/minimumApiLevel", "must be a whole number of 32 bits")),
        ({"smsDisabled": "true"}, Fault("/smsDisabled", "must be true or false")),
        ({"applications": {}}, Fault("/applications", "must be an array")),
        ({"systemUpdate": []}, Fault("/systemUpdate", "must be an object")),
        (
            {"passwordPolicies": [{"passwordExpirationTimeout": "1d"}]},
            Fault("/passwordPolicies/0/passwordExpirationTimeout", 'must be a duration such as "600s"'),
        ),
        (
            {"deviceOwnerLockScreenInfo": {"localizedMessages": {"ja": 1}}},
            Fault("/deviceOwnerLockScreenInfo/localizedMessages/ja", "must be text"),
        ),
        (
            {"applications": [{"signingKeyCerts": [{"signingKeyCertFingerprintSha256": "no base64"}]}]},
            Fault("/applications/0/signingKeyCerts/0/signingKeyCertFingerprintSha256", "must be base64"),
        ),
        (
            {"defaultPermissionPolicy": "PERMISSION_POLICY_UNSPECIFIED"},
            Fault("/defaultPermissionPolicy", "PERMISSION_POLICY_UNSPECIFIED says nothing; leave the field out"),
        ),
        (
            {"deviceConnectivityManagement": {"wifiSsidPolicy": {"wifiSsids": [{}]}}},
            Fault("/deviceConnectivityManagement/wifiSsidPolicy/wifiSsids/0/wifiSsid", "this field is needed"),
        ),
    ],
)
def test_one_wrong_thing_gives_one_fault_that_names_it(policy, expected):
    """A typo, a deprecated name, a wrong type or a missing field is found where it stands."""
    assert faults(policy) == [expected]


def test_the_allow_list_has_the_name_that_google_gave_it():
    """The enum still says WHITELIST, and another word for it is refused."""
    (found,) = faults({"playStoreMode": "ALLOWLIST"})
    assert found.pointer == "/playStoreMode"
    assert "WHITELIST" in found.detail


def test_every_schema_that_a_policy_reaches_can_be_checked():
    """No form of value in the document is unknown to the check."""
    seen, left = set(), ["Policy"]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            for field in schemas()[name]["properties"].values():
                # A wrong value for each field: the check answers, it does not fail.
                faults({"x": object()}, schema=name)
                inner = [field, field.get("items", {}), field.get("additionalProperties", {})]
                left += [part["$ref"] for part in inner if "$ref" in part]
            assert faults(dict.fromkeys(schemas()[name]["properties"], object()), schema=name)
    assert len(seen) > 40


APN = {"displayName": "A", "apn": "a.example.com", "apnTypes": ["DEFAULT"]}
LINKS = "deviceConnectivityManagement"
RULE = {"settingName": "passwordPolicies", "blockAction": {"blockAfterDays": 29}}


def freeze(start, end):
    return {"startDate": dict(zip(("month", "day"), start, strict=True)), "endDate": {"month": end[0], "day": end[1]}}


@pytest.mark.parametrize(
    ("policy", "where"),
    [
        ({"applications": [{"packageName": "a.a"}] * 2}, "/applications/0/packageName"),
        ({"applications": [{"packageName": f"a.a{n}"} for n in range(3001)]}, "/applications"),
        (
            {"applications": [{"packageName": "a.a", "installType": "AVAILABLE", "installConstraint": [{}]}]},
            "/applications/0/installType",
        ),
        (
            {"applications": [{"packageName": "a.a", "installType": "AVAILABLE", "roles": [{"roleType": "KIOSK"}]}]},
            "/applications/0/roles",
        ),
        (
            {
                "applications": [
                    {"packageName": name, "installType": "REQUIRED_FOR_SETUP", "roles": [{"roleType": "KIOSK"}]}
                    for name in ("a.a", "b.b")
                ]
            },
            "/applications",
        ),
        (
            {"applications": [{"packageName": "a.a", "managedConfiguration": {"k": "x" * 65_536}}]},
            "/applications/0/managedConfiguration/k",
        ),
        ({"policyEnforcementRules": [RULE]}, "/policyEnforcementRules/0"),
        ({"policyEnforcementRules": [{**RULE, "wipeAction": {"wipeAfterDays": 29}}]}, "/policyEnforcementRules/0"),
        (
            {LINKS: {"apnPolicy": {"apnSettings": [APN, {**APN, "displayName": "B"}]}}},
            f"/{LINKS}/apnPolicy/apnSettings",
        ),
        (
            {LINKS: {"apnPolicy": {"apnSettings": [{**APN, "apnTypes": ["IA", "IA"]}]}}},
            f"/{LINKS}/apnPolicy/apnSettings/0/apnTypes",
        ),
        ({LINKS: {"apnPolicy": {"overrideApns": "OVERRIDE_APNS_ENABLED"}}}, f"/{LINKS}/apnPolicy"),
        ({LINKS: {"privateDnsSettings": {"privateDnsHost": "d.example.com"}}}, f"/{LINKS}/privateDnsSettings"),
        ({LINKS: {"wifiSsidPolicy": {"wifiSsidPolicyType": "WIFI_SSID_ALLOWLIST"}}}, f"/{LINKS}/wifiSsidPolicy"),
        ({LINKS: {"configureWifi": "DISALLOW_CONFIGURING_WIFI"}}, f"/{LINKS}/configureWifi"),
        ({"recommendedGlobalProxy": {"pacUri": "https://p.example.com", "host": "h"}}, "/recommendedGlobalProxy"),
        ({"systemUpdate": {"type": "WINDOWED", "startMinutes": 60, "endMinutes": 1440}}, "/systemUpdate"),
        ({"systemUpdate": {"type": "AUTOMATIC", "startMinutes": 60, "endMinutes": 90}}, "/systemUpdate"),
        ({"systemUpdate": {"freezePeriods": [freeze((1, 10), (3, 1))]}}, "/systemUpdate/type"),
        (
            {"systemUpdate": {"type": "AUTOMATIC", "freezePeriods": [freeze((1, 1), (4, 1))]}},
            "/systemUpdate/freezePeriods",
        ),
        (
            {
                "systemUpdate": {
                    "type": "AUTOMATIC",
                    "freezePeriods": [freeze((12, 1), (1, 31)), freeze((3, 1), (3, 9))],
                }
            },
            "/systemUpdate/freezePeriods",
        ),
        ({"shortSupportMessage": {"localizedMessages": {"ja": "x"}}}, "/shortSupportMessage"),
        ({"deviceOwnerLockScreenInfo": {"defaultMessage": "x" * 4097}}, "/deviceOwnerLockScreenInfo"),
    ],
)
def test_rules_that_only_the_prose_holds_are_kept(policy, where):
    """What Google would reject as a whole, or what would cut a tablet off, is found though every type is right."""
    assert next(fault.pointer for fault in broken(policy)) == where


def test_a_freeze_across_new_year_is_measured_right():
    """From 1 December to 28 February are 90 days, the most there may be, also in a leap year."""
    fits = {"systemUpdate": {"type": "POSTPONE", "freezePeriods": [freeze((12, 1), (2, 28))]}}
    leap = {"systemUpdate": {"type": "POSTPONE", "freezePeriods": [freeze((12, 1), (2, 29))]}}
    over = {"systemUpdate": {"type": "POSTPONE", "freezePeriods": [freeze((12, 1), (3, 1))]}}
    assert broken(fits) == broken(leap) == []
    assert broken(over) != []
