"""The sections: merge rules on every field, whole documents there and back, and secrets that never show."""

import json
import typing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings

from mdm.errors import Invalid
from profiles.files import dump, load
from profiles.policy import Sections, read
from profiles.sections import HIDDEN, MergeRule, Part, Screen, Sitting, filled, joined, rule_of, strictness_of
from tests.profiles.documents import DOCUMENTS, SECTIONS

HEAD = {"version": 1, "name": "district", "layer": "fleet"}
PLAIN = "invented-secret-1"


def seal(text):
    return {"sealed": text[::-1]}


def unseal(text):
    return text[::-1]


def parts_of(model):
    """Every part that can stand in a section, the section itself first."""
    yield model
    for field in model.model_fields.values():
        for found in _models(field.annotation):
            yield from parts_of(found)


def _models(kind):
    if isinstance(kind, type) and issubclass(kind, Part):
        return [kind]
    return [model for arg in typing.get_args(kind) for model in _models(arg)]


SECTION_MODELS = {name: _models(field.annotation)[0] for name, field in Sections.model_fields.items()}
FIELDS = [
    pytest.param(field, id=f"{section}/{name}")
    for section, model in SECTION_MODELS.items()
    for name, field in model.model_fields.items()
]


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_may_be_silent_and_says_how_it_merges(field):
    """No section can force a value on a tablet by being written, and no field is left to chance."""
    assert field.default is None
    assert isinstance(rule_of(field), MergeRule)
    assert strictness_of(field) is None or rule_of(field) is MergeRule.STRICTEST


def test_numbers_carry_their_unit_or_count_something():
    """A reader never wonders whether 5 is minutes or days."""
    counts = {
        *("app_rating_limit", "minimum_length", "complex_characters", "wipe_after_failures", "history"),
        *("minimum_android_api", "port", "proxy_port"),
    }
    for model in SECTION_MODELS.values():
        for part in parts_of(model):
            for name, field in part.model_fields.items():
                if int in (field.annotation, *typing.get_args(field.annotation)):
                    assert name in counts or name.endswith(("_minutes", "_days", "_bytes")), f"{part.__name__}.{name}"


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_yaml_to_document_to_yaml_is_stable(document):
    """A policy written out reads back as itself, and writes out the same again."""
    body = document.body(secrets=str)
    written = dump([body])
    (again,) = load(written)
    assert again == document
    assert dump([again.body(secrets=str)]) == written
    assert read(json.loads(json.dumps(body))) == document


@settings(max_examples=60, deadline=None)
@given(SECTIONS, SECTIONS, SECTIONS)
def test_every_field_merges_by_a_law(a, b, c):
    """Layers may be grouped in any way, the same layer twice is that layer, and silence changes nothing."""
    for section, model in SECTION_MODELS.items():
        for name, field in model.model_fields.items():
            one, two, three = (getattr(getattr(layers, section), name, None) for layers in (a, b, c))
            assert joined(field, joined(field, one, two), three) == joined(field, one, joined(field, two, three))
            assert joined(field, one, one) == one
            assert joined(field, one, None) == one
            assert joined(field, None, one) == one
            if rule_of(field) is MergeRule.STRICTEST:
                assert joined(field, one, two) == joined(field, two, one)


@pytest.mark.parametrize(
    ("section", "name", "loose", "strict"),
    [
        ("usb", "data", "allow", "deny"),
        ("passcode", "required", False, True),
        ("passcode", "minimum_length", 6, 8),
        ("passcode", "lock_after_minutes", 15, 5),
        ("passcode", "complexity", "medium", "high"),
        ("store", "app_rating_limit", 1000, 300),
        ("updates", "minimum_ipados", "9.3", "17.10"),
        ("updates", "minimum_android_api", 29, 31),
        ("web_filter", "youtube", "moderate", "strict"),
        ("wifi", "weakest", "open", "enterprise"),
    ],
)
def test_the_stricter_value_wins_whichever_layer_says_it(section, name, loose, strict):
    """A school cannot loosen what the fleet demands, and can demand more."""
    field = SECTION_MODELS[section].model_fields[name]
    one, other = (
        getattr(getattr(Sections.model_validate({section: {name: value}}), section), name) for value in (loose, strict)
    )
    assert joined(field, one, other) == joined(field, other, one) == other


def test_of_two_entries_with_one_key_the_nearer_wins_and_keeps_the_label():
    """A school gives the fleet's network its own password; a label is never lost."""
    networks = SECTION_MODELS["wifi"].model_fields["networks"]
    wide, near = (
        Sections.model_validate({"wifi": {"networks": [{"ssid": "school", "password": word}]}}).wifi.networks
        for word in ("wide-secret", "near-secret")
    )
    assert [entry.password.get_secret_value() for entry in joined(networks, wide, near)] == ["near-secret"]
    rules = SECTION_MODELS["apps"].model_fields["network_rules"]
    wide, near = (
        Sections.model_validate({"apps": {"network_rules": [{"bundle_id": "a.a"} | rule]}}).apps.network_rules
        for rule in ({"label": "A", "cellular": "allow"}, {"cellular": "deny"})
    )
    (merged,) = joined(rules, wide, near)
    assert (merged.label, merged.cellular) == ("A", "deny")


WITH_SECRETS = HEAD | {
    "cellular": {"apns": [{"apn": "lte.example.jp", "name": "LTE", "password": PLAIN}]},
    "wifi": {"networks": [{"ssid": "a", "enterprise": {"method": "peap", "password": PLAIN}}]},
    "vpn_proxy": {"proxy": {"server": "p.example.jp", "port": 8080, "password": PLAIN}},
    "web_filter": {"plugin": {"name": "F", "bundle_id": "com.example.filter", "password": PLAIN}},
}


def test_no_reading_of_a_policy_shows_a_secret():
    """Not what is printed, not what is stored without sealing, not an error."""
    policy = read(WITH_SECRETS)
    for shown in (
        repr(policy),
        str(policy),
        json.dumps(policy.body()),
        policy.model_dump_json(),
        dump([policy.body()]),
    ):
        assert PLAIN not in shown
    assert json.dumps(policy.body(), ensure_ascii=False).count(HIDDEN) == 4
    with pytest.raises(Invalid) as refusal:
        read(WITH_SECRETS | {"usb": {"x": 1}, "wifi": {"networks": [{"ssid": "a", "password": PLAIN, "y": PLAIN}]}})
    assert PLAIN not in str(refusal.value.errors)


def test_storage_seals_secrets_and_opens_them_again():
    """The stored form holds no plain text, and reads back as the same policy."""
    policy = read(WITH_SECRETS)
    stored = policy.body(secrets=seal)
    assert PLAIN not in json.dumps(stored)
    assert read(stored, unseal=unseal) == policy


@pytest.mark.parametrize("value", [{"sealed": "x"}, HIDDEN, 12, ""])
def test_people_write_secrets_as_text(value):
    """Nobody hands in a sealed box of their own, or the three dots that were shown instead of a password."""
    with pytest.raises(Invalid):
        read(HEAD | {"cellular": {"apns": [{"apn": "a.jp", "name": "n", "password": value}]}})


@pytest.mark.parametrize(
    ("section", "content", "place", "saying"),
    [
        ("cellular", {"apns": [{"apn": "a.jp", "nam": "n"}]}, "/apns/0/nam", "did you mean `name`?"),
        (
            "wifi",
            {"networks": [{"ssid": "a", "enterprise": {"methd": "tls"}}]},
            "/networks/0/enterprise/methd",
            "`method`",
        ),
        ("screen", {"home": {"pages": [[{"ap": {"bundle_id": "a.a"}}]]}}, "/home/pages/0/0/ap", "`app`"),
        ("screen", {"lock_text": "{name}"}, "/lock_text", "only for {control_number}"),
        ("screen", {"home": {"pages": [[{}]]}}, "/home/pages/0/0", "exactly one of app, link, folder"),
        (
            "exam",
            {"single_app": {"app": {"bundle_id": "a.a"}, "ends_at": "2026-12-01T09:00:00"}},
            "/single_app/ends_at",
            "timezone",
        ),
        ("exam", {"single_app": {"app": {"bundle_id": "a.a"}, "end_at": "x"}}, "/single_app/end_at", "`ends_at`"),
        ("web_filter", {"dns": {"url": "http://a.example"}}, "/dns/url", "https://"),
        ("web_filter", {"dns": {"locked": True}}, "/dns", "write url"),
        ("vpn_proxy", {"proxy": {"server": "a.jp"}}, "/proxy", "server and port together"),
        ("updates", {"minimum_ipados": 18}, "/minimum_ipados", "in quotes"),
        ("updates", {"freezes": [{"start": "02-30", "end": "03-01"}]}, "/freezes/0/start", "month and day"),
        ("certificates", {"authorities": [{"name": "a", "pem": "x"}]}, "/authorities/0/pem", "one certificate"),
        ("passcode", {"minimum_length": "6"}, "/minimum_length", "valid integer"),
        ("passcode", {"minimum_length": True}, "/minimum_length", "valid integer"),
        ("sns_mail", {"twitter": "deny"}, "/twitter", "the keys here are facebook"),
        ("sns_mail", {"facebok": "deny"}, "/facebok", "`facebook`"),
        ("usb", {"screenshots": "deny"}, "/screenshots", "`screenshots` belongs to `privacy`"),
    ],
)
def test_an_error_inside_a_section_names_the_place_and_the_remedy(section, content, place, saying):
    """However deep the mistake is."""
    with pytest.raises(Invalid) as refusal:
        read(HEAD | {section: content})
    assert saying in {error["pointer"]: error["detail"] for error in refusal.value.errors}[f"/{section}{place}"]


START, END = (datetime(2026, 12, 1, hour, tzinfo=UTC) for hour in (0, 3))


@pytest.mark.parametrize(
    ("starts_at", "now", "in_force", "turns"),
    [
        (START, START - timedelta(seconds=1), False, START),
        (START, START, True, END),
        (START, END - timedelta(seconds=1), True, END),
        (START, END, False, None),
        (None, START - timedelta(days=9), True, END),
        (None, END, False, None),
    ],
)
def test_an_examination_holds_from_its_start_until_before_its_end(starts_at, now, in_force, turns):
    """The tablet is free at the second that the policy names."""
    sitting = Sitting(app={"bundle_id": "a.a"}, starts_at=starts_at, ends_at=END)
    assert sitting.in_force(now) is in_force
    assert sitting.next_change(now) == turns


def test_a_screen_text_is_filled_in_for_one_tablet():
    """What is not known becomes nothing, and only the control number makes a text a tablet's own."""
    text = "No. {control_number} / {desk_phone}"
    assert filled(text, control_number="T-1", desk_phone="03-0000-0000") == "No. T-1 / 03-0000-0000"
    assert filled(text, control_number=None, desk_phone=None) == "No.  /"
    assert Screen(lock_text=text).per_tablet
    assert not Screen(lock_text="{desk_phone}", desk_phone="03-0000-0000").per_tablet
