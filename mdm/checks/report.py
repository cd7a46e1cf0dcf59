"""Writes the report of the unverified: as CSV that no spreadsheet executes, and as a page to print, in ja or en.

It has control numbers and no names; times are Japan's. Pure: it is given what it writes.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from html import escape
from itertools import groupby
from typing import Final

from mdm.checks.counts import Counts
from mdm.checks.lists import TaskLine
from mdm.checks.models import WhereaboutsCheck
from mdm.csvfile import csv_line
from mdm.organization.hours import JST


class Language(StrEnum):
    """The languages of the report."""

    JA = "ja"
    EN = "en"


_WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    Language.JA: {
        "title": "所在未確認端末一覧", "control_number": "管理番号", "school_code": "学校コード",
        "school_name": "学校名", "year": "学年", "class_name": "組", "user_id": "利用者ID",
        "state": "開始時の状態", "state_now": "現在の状態",
        "hand": "目視", "last_contact": "最終通信", "found": "他校での読取", "seen": "確認", "never": "なし",
        "must_be_seen": "要現物確認", "silent": "長期未通信", "yes": "あり", "listed": "対象", "verified": "確認済",
        "unverified": "未確認", "excluded": "対象外", "from": "期間", "as_of": "作成", "closed": "締切後の確定版",
        "open": "途中経過", "none": "未確認の端末はありません。",
        "stock": "在庫", "issued": "貸与", "lost": "紛失", "repair": "修理", "returned": "返却", "retired": "廃止",
        "case": "紛失事案対応中",
    },
    Language.EN: {
        "title": "Tablets not verified", "control_number": "Control number", "school_code": "School code",
        "school_name": "School", "year": "Year", "class_name": "Class", "user_id": "User id",
        "state": "State at the start", "state_now": "State now", "hand": "By hand", "last_contact": "Last contact",
        "found": "Scanned at another school", "seen": "Seen", "never": "never", "must_be_seen": "must be seen",
        "silent": "long silent", "yes": "yes", "listed": "To verify", "verified": "verified",
        "unverified": "not verified", "excluded": "left out", "from": "Days", "as_of": "Made",
        "closed": "final, after closing", "open": "so far", "none": "Every tablet is verified.",
        "stock": "in stock", "issued": "issued", "lost": "lost", "repair": "in repair", "returned": "returned",
        "retired": "retired", "case": "in a case of loss",
    },
}  # fmt: skip
_COLUMNS: Final = (
    "control_number", "school_code", "school_name", "year", "class_name", "user_id", "state", "state_now", "hand",
    "last_contact", "found",
)  # fmt: skip
_ON_PAPER: Final = ("control_number", "year", "class_name", "user_id", "state_now", "hand", "last_contact", "found")
_STYLE: Final = (
    "body{font:10pt sans-serif;margin:12mm}table{border-collapse:collapse;width:100%}"
    "th,td{border:1px solid #666;padding:1mm 2mm;text-align:left}thead{display:table-header-group}"
    "tr{break-inside:avoid}section+section{break-before:page}td.box{width:12mm}"
)
POLICY: Final = (
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)
"""The Content-Security-Policy of the page: its own style and nothing else."""


def as_csv(lines: Iterable[TaskLine], language: Language, *, holders: bool) -> Iterator[str]:
    """Yield the report as lines of CSV, the header first."""
    words = _WORDS[language]
    columns = [column for column in _COLUMNS if holders or column != "user_id"]
    yield csv_line(words[column] for column in columns)
    for line in lines:
        yield csv_line(_cell(line, column, words) for column in columns)


def as_page(
    check: WhereaboutsCheck,
    counts: Counts,
    lines: Iterable[TaskLine],
    language: Language,
    *,
    holders: bool,
    now: datetime,
) -> Iterator[str]:
    """Yield the report as an HTML page, a sheet for each school, with a box to tick for each tablet."""
    words = _WORDS[language]
    title = escape(f"{words['title']} {check.name}")
    final = words["open"] if check.closed_at is None else words["closed"]
    yield (
        f'<!doctype html><html lang="{language.value}"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p>{words['from']}: {check.first_day} - {check.last_day}."
        f" {words['as_of']}: {_time(check.closed_at or now)} ({final}).</p><p>"
        + ", ".join(
            f"{words[name]} {getattr(counts, name):,}" for name in ("listed", "verified", "unverified", "excluded")
        )
        + "</p>"
    )
    columns = [column for column in _ON_PAPER if holders or column != "user_id"]
    head = "".join(f"<th>{words[column]}</th>" for column in (*columns, "seen"))
    empty = True
    for (code, name), group in groupby(lines, key=lambda line: (line.school_code, line.school_name)):
        empty = False
        yield f"<section><h2>{escape(code)} {escape(name)}</h2><table><thead><tr>{head}</tr></thead><tbody>"
        for line in group:
            cells = "".join(f"<td>{escape(_cell(line, column, words))}</td>" for column in columns)
            yield f'<tr>{cells}<td class="box"></td></tr>'
        yield "</tbody></table></section>"
    if empty:
        yield f"<p>{words['none']}</p>"
    yield "</body></html>\n"


def _cell(line: TaskLine, column: str, words: Mapping[str, str]) -> str:
    match column:
        case "state" | "state_now":
            return words[getattr(line, column)]
        case "hand":
            return "" if line.hand is None else words[line.hand.value]
        case "last_contact":
            return words["never"] if line.last_contact is None else _time(line.last_contact)
        case "found":
            return (line.found_school or words["yes"]) if line.found_elsewhere else ""
        case _:
            value = getattr(line, column)
            return "" if value is None else str(value)


def _time(moment: datetime) -> str:
    return moment.astimezone(JST).strftime("%Y-%m-%d %H:%M")
