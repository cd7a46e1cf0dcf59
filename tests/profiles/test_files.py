"""Policy files: the pitfalls of YAML become errors with a line."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.errors import Invalid, Malformed, MdmError
from profiles import files
from profiles.files import load, parse
from profiles.layers import merge
from profiles.lint import doubts

HEAD = "version: 1\nname: district\nlayer: fleet\n"
SAMPLES = Path(__file__).parents[2] / "docs/policy"


def test_the_sample_policies_of_the_documentation_load_without_a_doubt():
    """The files that people copy are right."""
    (fleet,) = load((SAMPLES / "district.yaml").read_text())
    (near,) = load((SAMPLES / "class.yaml").read_text())
    assert (str(fleet.layer), str(near.layer)) == ("fleet", "class=0101/6/1")
    assert doubts(merge(fleet.sections(), near.sections())) == []


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("usb: {host_pairing: no}", "line 4: `no` means different things"),
        ("usb:\n  host_pairing: Off", "line 5: `Off` means different things"),
        ("usb:\nstore: {install_apps: deny}", "line 4: nothing is written here"),
        ("usb: {host_pairing: deny}\nusb: {host_pairing: allow}", "line 5: `usb` is written twice (also in line 4)"),
        ("usb: &a {host_pairing: deny}\nstore: *a", "line 4: anchors and aliases"),
        ("usb: !!python/object:os.system {}", "line 4: tags"),
        ("usb: {host_pairing: !x deny}", "line 4: tags"),
        ("usb: {host_pairing: deny", "not YAML"),
        ("usb: {? [a, b] : deny}", "a key must be a plain word"),
        ("\tusb: 1", "line 4: not YAML"),
        ("usb: " + "[" * 40, "deeper than"),
    ],
)
def test_what_readers_of_yaml_disagree_on_is_refused_with_its_line(text, saying):
    """No silent reading of a doubtful file."""
    with pytest.raises(Malformed) as refusal:
        load(HEAD + text)
    assert saying in refusal.value.detail


def test_numbers_with_leading_zeros_stay_text_and_plain_ones_are_numbers():
    """School 0101 is not 65, and a school 101 without quotes is told to use them."""
    assert parse("a: 0101\nb: 12\nc: '12'\nd: 1e3\ne: 2026-11-23\nf: 1_0")[0] == [
        {"a": "0101", "b": 12, "c": "12", "d": "1e3", "e": "2026-11-23", "f": "1_0"}
    ]
    with pytest.raises(Invalid) as refusal:
        load("version: 1\nname: s\nlayer: {school: 101}\nusb: {host_pairing: deny}")
    (error,) = refusal.value.errors
    assert error == {
        "pointer": "/0/layer",
        "detail": 'line 3: the school must be text; write it in quotes: {school: "101"}',
    }


def test_errors_of_all_documents_come_together_each_with_its_line():
    """The second document's errors do not wait for the first's."""
    with pytest.raises(Invalid) as refusal:
        load(HEAD + "usb: {hostpairing: deny}\n---\n" + HEAD + "store:\n  storefront: never\n")
    assert [error["pointer"] for error in refusal.value.errors] == ["/0/usb/hostpairing", "/1/store/storefront"]
    assert [error["detail"].split(":")[0] for error in refusal.value.errors] == ["line 4", "line 10"]


def test_two_policies_of_one_name_are_refused():
    """Which of them would win is nobody's guess."""
    with pytest.raises(Invalid) as refusal:
        load((HEAD + "usb: {host_pairing: deny}\n---\n") * 2 + HEAD + "usb: {host_pairing: deny}")
    assert "two policies are named `district`" in refusal.value.errors[0]["detail"]


def test_an_empty_or_an_oversized_file_is_refused():
    """Caps come before any reading."""
    for text in ("", "# nothing\n", "x" * (files.MAX_BYTES + 1)):
        with pytest.raises(Malformed):
            load(text)


def test_a_file_of_very_many_values_is_refused():
    """The cap on nodes holds within the cap on bytes."""
    with pytest.raises(Malformed, match="more than"):
        parse("[" + "1," * (files.MAX_NODES + 1) + "]")


@given(st.one_of(st.text(), st.text(alphabet="{}[]:,-?&*!|>'\"\n\t #%@`ab0~")))
def test_any_text_gives_policies_or_a_typed_error(text):
    """Nothing a person can save crashes the reader."""
    with suppress(MdmError):
        assert load(text)
