"""An invented district for demonstrations, tests and benchmarks: a seed gives always the same. Nobody in it exists.

Numbers have valid check digits and come from ranges made up here; names are put together from a short list.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from stdnum import luhn

from mdm.csvfile import csv_line
from mdm.devices.ledger_columns import JAPANESE, Column

_FAMILY_NAMES = (
    "青葉",
    "朝倉",
    "泉川",
    "岩瀬",
    "梅沢",
    "大槻",
    "小野田",
    "柏木",
    "北原",
    "霧島",
    "桜庭",
    "白鳥",
    "杉浦",
    "高瀬",
    "月岡",
    "東條",
    "夏目",
    "西園",
    "花岡",
    "星野",
    "水無瀬",
    "八重樫",
)
_GIVEN_NAMES = (
    "あおい",
    "樹",
    "海斗",
    "楓",
    "恵太",
    "さくら",
    "翔",
    "すみれ",
    "大地",
    "千尋",
    "つむぎ",
    "直人",
    "ひかり",
    "悠真",
    "結衣",
    "陸",
    "凛",
    "るい",
    "蓮",
    "和花",
)
_PLACES = (
    "青葉",
    "泉",
    "梅が丘",
    "大空",
    "川岸",
    "北",
    "桜木",
    "潮見",
    "白樺",
    "杉並木",
    "高台",
    "竹園",
    "月見",
    "中央",
    "西",
    "野原",
    "東",
    "藤棚",
    "星見",
    "松風",
    "緑",
    "港",
    "南",
    "若葉",
)
_MODELS = ("iPad 第9世代 Wi-Fi+Cellular", "iPad 第10世代 Wi-Fi+Cellular", "iPad A16 Wi-Fi+Cellular")
_SERIAL_LETTERS = "0123456789CDFGHJKLMNPQRTVWXY"
_TABLETS_PER_SCHOOL = 375
_PUPILS_PER_CLASS = 33
_LARGEST_DISTRICT = 200_000


@dataclass(frozen=True, slots=True)
class SampleSchool:
    """An invented school: its years, and how many tablets it has."""

    code: str
    name: str
    years: int
    tablets: int


def default_schools(tablets: int) -> int:
    """Return how many schools a district of so many tablets has: 40 for 15,000."""
    return max(1, round(tablets / _TABLETS_PER_SCHOOL))


def district(tablets: int, schools: int) -> list[SampleSchool]:
    """Return the schools: two thirds elementary, one third junior high, and one special-needs school at the end."""
    schools = max(1, min(schools, tablets))
    made: list[SampleSchool] = []
    for number in range(schools):
        share = tablets // schools + (1 if number < tablets % schools else 0)
        place = _PLACES[number % len(_PLACES)] + ("" if number < len(_PLACES) else f"第{number // len(_PLACES) + 1}")
        if schools > 1 and number == schools - 1:
            made.append(SampleSchool(f"S{number + 1:03}", f"{place}特別支援学校", 9, share))
        elif number % 3 == 2:
            made.append(SampleSchool(f"J{number + 1:03}", f"{place}中学校", 3, share))
        else:
            made.append(SampleSchool(f"E{number + 1:03}", f"{place}小学校", 6, share))
    return made


def rows(tablets: int, *, schools: int | None = None, seed: int = 1) -> Iterator[dict[Column, str]]:
    """Yield one ledger row per tablet: nine in ten a pupil's, then teachers', and a few spare ones in stock."""
    if not 1 <= tablets <= _LARGEST_DISTRICT:
        raise ValueError(f"a sample has 1 to {_LARGEST_DISTRICT:,} tablets")
    random_numbers = random.Random(seed)  # noqa: S311 - invented data, reproducible on purpose
    number = 0
    for school in district(tablets, schools or default_schools(tablets)):
        spare = school.tablets // 33
        teachers = school.tablets // 16
        pupils = school.tablets - spare - teachers
        for place in range(school.tablets):
            number += 1
            row = _tablet(number, school, random_numbers)
            if place < pupils:
                row |= _pupil(place, pupils, school, random_numbers)
            elif place < pupils + teachers:
                row |= {Column.USER_ID: f"t-{school.code.lower()}-{place - pupils + 1:03}"}
                row |= {Column.NAME: _name(random_numbers), Column.STATE: "issued"}
            yield row


def _tablet(number: int, school: SampleSchool, random_numbers: random.Random) -> dict[Column, str]:
    """Return a spare tablet of a school. The number is part of every identifier, so that none comes twice."""
    imei = f"359900{number:08}"
    iccid = f"8981990{number:011}"
    tail, rest = "", number
    for _ in range(5):
        rest, letter = divmod(rest, len(_SERIAL_LETTERS))
        tail = _SERIAL_LETTERS[letter] + tail
    noise = "".join(random_numbers.choices(_SERIAL_LETTERS, k=3))
    return {
        Column.CONTROL_NUMBER: f"T{number:06}",
        Column.SERIAL: f"ZZ{noise}{tail}",
        Column.PLATFORM: "apple",
        Column.MODEL: random_numbers.choice(_MODELS),
        Column.IMEI: imei + luhn.calc_check_digit(imei),
        Column.ICCID: iccid + luhn.calc_check_digit(iccid),
        Column.SCHOOL_CODE: school.code,
        Column.SCHOOL_NAME: school.name,
        Column.YEAR: "",
        Column.CLASS: "",
        Column.USER_ID: "",
        Column.NAME: "",
        Column.LEASE_CONTRACT: f"L2026-{number % 3 + 1:02}",
        Column.STATE: "stock",
    }


def _pupil(place: int, pupils: int, school: SampleSchool, random_numbers: random.Random) -> dict[Column, str]:
    per_year = -(-pupils // school.years)
    year, place_in_year = divmod(place, per_year)
    classes = max(1, round(per_year / _PUPILS_PER_CLASS))
    return {
        Column.YEAR: str(year + 1),
        Column.CLASS: str(place_in_year % classes + 1),
        Column.USER_ID: f"p-{school.code.lower()}-{place + 1:04}",
        Column.NAME: _name(random_numbers),
        Column.STATE: "issued",
    }


def _name(random_numbers: random.Random) -> str:
    return f"{random_numbers.choice(_FAMILY_NAMES)}　{random_numbers.choice(_GIVEN_NAMES)}"


def lines(tablets: int, *, schools: int | None = None, seed: int = 1, japanese: bool = True) -> Iterator[str]:
    """Yield the lines of the file, header first, each with its CRLF."""
    yield csv_line(JAPANESE[column] if japanese else column.value for column in Column)
    for row in rows(tablets, schools=schools, seed=seed):
        yield csv_line(row[column] for column in Column)
