"""The forms of ICCID, EID, IMSI, MSISDN, IMEI, serial and control number: tidy, check, compare. Pure.

Never puts a number into an error. Rules: lte-and-usage A3.2 (ITU-T E.118 for the ICCID, E.164 for the MSISDN, 3GPP
TS 23.003 for IMEI and IMSI, GSMA SGP.29 for the EID).
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from stdnum import imei as stdnum_imei
from stdnum import luhn
from stdnum.exceptions import InvalidChecksum, InvalidLength, ValidationError

from mdm.errors import Invalid

_SEPARATORS = re.compile(r"\s+|(?<=[^\s])[\-‐-―−]+")  # noqa: RUF001 - hyphens as Japanese spreadsheets write them
"""What groups digits; a hyphen in front of all of them is a minus, and no number of these is negative."""
_TEXT_FORMULA = re.compile(r'="([0-9A-Fa-f+]+)"')
"""How portals export a number so that a spreadsheet leaves it alone."""
_SERIAL = re.compile(r"[0-9A-Z][0-9A-Z._-]{3,31}")
_SCIENTIFIC = re.compile(r"[0-9.]+E\+?[0-9]+", re.IGNORECASE)


class Doubt(StrEnum):
    """What is odd about an ICCID that is accepted all the same."""

    CHECK_DIGIT_WRONG = "check_digit_wrong"
    """19 digits that fail Luhn: a warning, most likely a typing error."""
    CHECK_DIGIT_UNCLEAR = "check_digit_unclear"
    """20 digits that fail Luhn: for information; the 20th may come from the modem."""
    CHECK_DIGIT_MISSING = "check_digit_missing"
    """18 digits: the source left the check digit out."""


@dataclass(frozen=True, slots=True)
class Iccid:
    """A SIM's number: `digits` as given (18 to 20), `key` to compare by, and what is doubtful about it."""

    digits: str
    key: str
    """The number without its check digit and without what a modem added."""
    doubt: Doubt | None


@dataclass(frozen=True, slots=True)
class Imei:
    """A radio's number: `digits` as given (14 to 16) and its first 14 to compare by, as carriers report IMEISV."""

    digits: str
    key: str


def iccid(text: str) -> Iccid:
    """Read an ICCID: spaces, hyphens and trailing filler F go away; 18 to 20 digits from 89 on, else `Invalid`."""
    digits = text if text.isdecimal() and text.isascii() else _compact(text).upper().rstrip("F")
    if not (digits.isascii() and digits.isdecimal()):
        raise Invalid(f"the ICCID has other characters than digits{_spreadsheet_hint(digits)}")
    if not 18 <= len(digits) <= 20:
        raise Invalid(f"the ICCID has {len(digits)} digits, not 18 to 20")
    if not digits.startswith("89"):
        raise Invalid("the ICCID does not start with 89")
    return Iccid(digits, iccid_key(digits), _doubt(digits))


def iccid_key(digits: str) -> str:
    """Return what two forms of one ICCID (18 to 20 digits) have in common.

    Cards have 18 + 1 or 19 + 1 digits. Of 20 digits whose first 19 pass Luhn, the last was added by a modem.
    """
    if len(digits) == 20 and not luhn.is_valid(digits[:19]):
        return digits[:19]
    return digits[:18]


def _doubt(digits: str) -> Doubt | None:
    if len(digits) == 18:
        return Doubt.CHECK_DIGIT_MISSING
    if luhn.is_valid(digits):
        return None
    return Doubt.CHECK_DIGIT_WRONG if len(digits) == 19 else Doubt.CHECK_DIGIT_UNCLEAR


def imei(text: str) -> Imei:
    """Read an IMEI: 14 digits, 15 with a Luhn check digit, or 16 (IMEISV, no check digit); else `Invalid`."""
    compact = _digits(text.replace("/", ""), what="the IMEI")
    try:
        digits = str(stdnum_imei.validate(compact))
    except InvalidLength:
        raise Invalid(f"the IMEI has {len(compact)} digits, not 14 to 16") from None
    except InvalidChecksum:
        raise Invalid("the check digit of the IMEI is wrong") from None
    except ValidationError:
        raise Invalid("the IMEI is not valid") from None
    return Imei(digits, imei_key(digits))


def imei_key(digits: str) -> str:
    """Return the 14 digits that IMEI and IMEISV of one radio have in common."""
    return digits[:14]


def eid(text: str) -> str:
    """Read an EID, the number of an eSIM's chip: 32 digits from 89 on that leave 1 divided by 97, else `Invalid`."""
    digits = _digits(text, what="the EID")
    if len(digits) != 32:
        raise Invalid(f"the EID has {len(digits)} digits, not 32")
    if not digits.startswith("89") or int(digits) % 97 != 1:
        raise Invalid("the check digits of the EID are wrong")
    return digits


def imsi(text: str) -> str:
    """Read an IMSI: 14 or 15 digits, else `Invalid`."""
    digits = _digits(text, what="the IMSI")
    if not 14 <= len(digits) <= 15:
        raise Invalid(f"the IMSI has {len(digits)} digits, not 14 or 15")
    return digits


def msisdn(text: str) -> str:
    """Read the telephone number of a line and return it in E.164 without the plus; Japanese unless it says otherwise.

    Only the length is checked: data lines have numbers (0200, 14 digits) that no plan of numbers lists.
    """
    compact = re.sub(r"[()/.]", "", _compact(text))
    abroad = re.sub(r"^(?:\+|00|010)(?=[1-9])", "", compact)
    if not (abroad.isascii() and abroad.isdecimal()):
        raise Invalid(f"the telephone number has other characters than digits{_spreadsheet_hint(compact)}")
    if abroad.startswith("0"):
        abroad = "81" + abroad[1:]
    # Some write +81 and keep the domestic 0.
    abroad = re.sub(r"^810", "81", abroad)
    if not 8 <= len(abroad) <= 15 or (abroad.startswith("81") and len(abroad) < 11):
        raise Invalid(f"the telephone number has {len(abroad)} digits, country code included; that is none")
    return abroad


def serial(text: str) -> str:
    """Read a serial number: upper case, no spaces; 4 to 32 of A-Z, 0-9, dot, hyphen and underscore, else `Invalid`."""
    tidy = re.sub(r"\s+", "", unicodedata.normalize("NFKC", text)).upper()
    if not _SERIAL.fullmatch(tidy):
        raise Invalid("the serial number must be 4 to 32 letters A-Z, digits, dots, hyphens or underscores")
    return tidy


def control_number(text: str) -> str:
    """Read a tablet control number (管理番号): one word of 1 to 32 printable characters, width folded, case kept."""
    tidy = unicodedata.normalize("NFKC", text).strip()
    if not 1 <= len(tidy) <= 32 or not tidy.isprintable() or len(tidy.split()) != 1:
        raise Invalid("the control number must be one word of 1 to 32 printable characters")
    return tidy


def _digits(text: str, *, what: str) -> str:
    digits = text if text.isdecimal() and text.isascii() else _compact(text)
    if not (digits.isascii() and digits.isdecimal()):
        raise Invalid(f"{what} has other characters than digits{_spreadsheet_hint(digits)}")
    return digits


def _compact(text: str) -> str:
    compact = _SEPARATORS.sub("", unicodedata.normalize("NFKC", text))
    formula = _TEXT_FORMULA.fullmatch(compact)
    return formula[1] if formula else compact


def _spreadsheet_hint(text: str) -> str:
    if _SCIENTIFIC.fullmatch(text):
        return ": a spreadsheet has rounded it; format the column as text and enter it again"
    return ""
