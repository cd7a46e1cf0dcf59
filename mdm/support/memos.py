"""Memos warn (R-47): what looks like something that must not be written about a person is sent back once. Pure."""

import re
from collections.abc import Mapping
from typing import Final

from mdm.errors import Invalid

_DOUBTS: Final[Mapping[str, re.Pattern[str]]] = {
    "looks like a telephone number": re.compile(r"(?<!\d)0\d{1,4}[-(\s]?\d{1,4}[-)\s]?\d{3,4}(?!\d)"),
    "looks like a mail address": re.compile(r"\S@\S+\.\S"),
    "speaks of health": re.compile(r"病|障害|診断|発達|通院|ADHD|\bill(ness)?\b|disabilit|diagnos", re.IGNORECASE),
    "speaks of creed": re.compile(r"宗教|信仰|教会|religio|church|mosque|temple", re.IGNORECASE),
    "speaks of crime or punishment": re.compile(r"前科|逮捕|補導|非行|犯罪歴|arrest|criminal|convict", re.IGNORECASE),
    "speaks of family or origin": re.compile(
        r"母子|父子|離婚|生活保護|国籍|部落|divorc|nationalit|welfare", re.IGNORECASE
    ),
    "seems to hold a name": re.compile(r"[一-龥ぁ-んァ-ヶ]{1,6}(さん|くん|ちゃん|君|様|氏)|\b(Mr|Mrs|Ms)\.? ?[A-Z]"),
}


class MemoWarning(Invalid):
    """The memo may hold what must not be collected; it is taken when it is sent again as sure."""

    slug = "memo-warning"


def doubts(memo: str) -> list[str]:
    """Say what in a memo looks as if it should not stand there."""
    return [reason for reason, pattern in _DOUBTS.items() if pattern.search(memo)]


def check(memo: str, *, sure: bool, pointer: str = "/text") -> None:
    """Raise `MemoWarning` for a doubtful memo, unless whoever writes it has read the warning and is sure."""
    found = doubts(memo)
    if found and not sure:
        errors = [{"pointer": pointer, "detail": reason} for reason in found]
        raise MemoWarning("no names, no character, no health, no creed: a timeline is for ever", errors=errors)
