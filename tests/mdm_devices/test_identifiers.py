"""ICCID, IMEI, serial and control number: what is accepted, how forms compare."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from mdm.devices import identifiers
from mdm.devices.identifiers import Doubt
from mdm.errors import Invalid

DIGITS = st.text("0123456789", min_size=16, max_size=16)


def with_check_digit(digits: str) -> str:
    return digits + luhn.calc_check_digit(digits)


CARD = with_check_digit("898199000000000042"[:18])


@pytest.mark.parametrize(
    "text",
    [CARD, f" {CARD} ", f"{CARD}F", f"{CARD}f", f"{CARD[:4]} {CARD[4:8]}-{CARD[8:]}", f"{CARD[:6]}－{CARD[6:]}"],  # noqa: RUF001
)
def test_spaces_hyphens_and_filler_are_not_part_of_an_iccid(text: str) -> None:
    """However a card's number is spaced or filled up, the same digits come out."""
    assert identifiers.iccid(text).digits == CARD
    assert identifiers.iccid(text).doubt is None


@pytest.mark.parametrize(
    "text", ["", "89", "8" * 17, CARD + "11", "12" + CARD[2:], "89x" + CARD[3:], "8.98199E+18", "٨" * 19, "89" * 20]
)
def test_what_is_no_iccid_is_refused_without_repeating_it(text: str) -> None:
    """A refusal says what is wrong, and never the number itself."""
    with pytest.raises(Invalid) as refusal:
        identifiers.iccid(text)
    assert len(text) < 4 or text not in refusal.value.detail


def test_a_rounded_number_gets_a_hint() -> None:
    """A spreadsheet's rounding is named as what it is."""
    with pytest.raises(Invalid, match="spreadsheet"):
        identifiers.iccid("8.98199E+18")


@given(DIGITS)
def test_all_forms_of_one_card_compare_equal(body: str) -> None:
    """18 digits, 19 with check digit, and 20 with a digit from the modem have one key."""
    bare = "89" + body
    full = with_check_digit(bare)
    keys = {identifiers.iccid(form).key for form in (bare, full, *(full + extra for extra in "0123456789"))}
    assert keys == {bare}


@given(DIGITS)
def test_neighbouring_twenty_digit_cards_stay_apart(body: str) -> None:
    """Ten cards of 19 + 1 digits that differ in the 19th digit only never compare equal."""
    cards = [with_check_digit("89" + body + last) for last in "0123456789"]
    assert len({identifiers.iccid(card).key for card in cards}) == 10


def test_a_failing_luhn_is_a_doubt_not_a_refusal() -> None:
    """Luhn failure warns on 19 digits, informs on 20, and 18 digits lack the check digit."""
    wrong = CARD[:-1] + str((int(CARD[-1]) + 1) % 10)
    assert identifiers.iccid(wrong).doubt is Doubt.CHECK_DIGIT_WRONG
    assert identifiers.iccid(CARD[:18]).doubt is Doubt.CHECK_DIGIT_MISSING
    twenty = CARD + "0"
    twenty = twenty if not luhn.is_valid(twenty) else CARD + "1"
    assert identifiers.iccid(twenty).doubt is Doubt.CHECK_DIGIT_UNCLEAR


@given(st.text("0123456789", min_size=14, max_size=14), st.text("0123456789", min_size=2, max_size=2))
def test_imei_and_imeisv_of_one_radio_compare_equal(body: str, version: str) -> None:
    """14 digits, 15 with Luhn and 16 with a software version have one key."""
    forms = [body, with_check_digit(body), body + version]
    assert {identifiers.imei(form).key for form in forms} == {body}


@pytest.mark.parametrize("text", ["", "1" * 13, "1" * 17, "35417803685978x", "354178036859781", "３５"])  # noqa: RUF001
def test_what_is_no_imei_is_refused(text: str) -> None:
    """Wrong length, wrong characters and a wrong check digit are refused."""
    with pytest.raises(Invalid):
        identifiers.imei(text)


def test_serials_are_upper_case_half_width_words() -> None:
    """Width, case and spaces of a serial number do not matter."""
    assert identifiers.serial(" ｄmp t12abcdef ") == "DMPT12ABCDEF"  # noqa: RUF001
    for text in ("", "AB", "A" * 33, "ABC;DROP", "あいうえお"):
        with pytest.raises(Invalid):
            identifiers.serial(text)


def test_control_numbers_are_words() -> None:
    """A control number is folded in width, keeps its case, and is one printable word."""
    assert identifiers.control_number("　Ｔ－0001 ") == "T-0001"  # noqa: RUF001
    for text in ("", " ", "T 1", "T\x001", "x" * 33, "T\u200b1"):
        with pytest.raises(Invalid):
            identifiers.control_number(text)


@given(st.text(max_size=60))
def test_any_text_gives_a_value_or_the_typed_refusal(text: str) -> None:
    """No text makes a reader raise anything but `Invalid`; what comes out is stable when read again."""
    for read in (identifiers.serial, identifiers.control_number):
        try:
            value = read(text)
        except Invalid:
            continue
        assert read(value) == value
    for number in (identifiers.iccid, identifiers.imei):
        try:
            found = number(text)
        except Invalid:
            continue
        assert number(found.digits) == found


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("090-0000-0001", "819000000001"),
        ("0200 0000 000001", "812000000000001"),
        ("+81 90 0000 0001", "819000000001"),
        ("+81-090-0000-0001", "819000000001"),
        ("0081 90 0000 0001", "819000000001"),
        ("010-1-202-555-0100", "12025550100"),
        ("８１９００００００００１", "819000000001"),  # noqa: RUF001
        ('="09000000001"', "819000000001"),
        ("(090) 0000.0001", "819000000001"),
    ],
)
def test_telephone_numbers_come_out_in_e164(text: str, number: str) -> None:
    """Domestic, with the country code or a way out of Japan, in any dress: the same digits; data lines of 14 pass."""
    assert identifiers.msisdn(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "-09000000001", "9" * 16, "0900000", "090x0000001", "9.0E+10", "+"])
def test_what_is_no_telephone_number(text: str) -> None:
    """Negative, too short, too long, rounded or empty: refused, and not repeated."""
    with pytest.raises(Invalid) as refusal:
        identifiers.msisdn(text)
    assert len(text) < 4 or text not in refusal.value.detail


@given(st.text("0123456789", min_size=28, max_size=28))
def test_check_digits_of_an_eid(body: str) -> None:
    """Two digits at the end make it divisible; any other two are refused, and so is another length."""
    start = "89" + body
    check = 98 - int(start + "00") % 97
    assert identifiers.eid(f"{start}{check:02d}") == f"{start}{check:02d}"
    for wrong in (f"{start}{(check + 1) % 97:02d}", start, f"{start}{check:02d}0"):
        with pytest.raises(Invalid):
            identifiers.eid(wrong)


@pytest.mark.parametrize(("text", "right"), [("44010" + "0" * 10, True), ("440-10-123456789", True), ("440101", False)])
def test_imsis_have_14_or_15_digits(text: str, *, right: bool) -> None:
    """With or without hyphens; nothing shorter."""
    if right:
        assert identifiers.imsi(text) == text.replace("-", "")
    else:
        with pytest.raises(Invalid):
            identifiers.imsi(text)
