"""Honest words about a case, in English and Japanese: what the tablet has done, and what is being waited for. Pure.

Nothing here says "locked" or "erased" before the tablet has (B8, 1); a silent tablet is called silent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from typing import Final, Literal

from mdm.commands.kinds import Kind
from mdm.commands.models import CommandState
from mdm.devices.models import EnrollmentStatus
from mdm.support import words
from mdm.support.kinds import LOSS, CaseKind, Purpose
from mdm.support.progress import Asked, Line, Progress
from mdm.support.states import State

Language = Literal["en", "ja"]
JST: Final = timezone(timedelta(hours=9))


class Who(StrEnum):
    """Who has the next move."""

    TABLET = "tablet"
    SECOND_PERSON = "second_person"
    SENDER = "sender"
    """Agreed on, and held until its time has come."""
    DESK = "desk"
    REPAIRER = "repairer"
    HOLDER = "holder"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a case waits for."""

    who: Who
    code: str
    since: datetime | None = None

    def text(self, language: Language = "en") -> str:
        """Say it in a sentence."""
        return _said(_WAITS[self.code], language, at=self.since)


_WAITS: Final[Mapping[str, tuple[str, str]]] = {
    "closed": ("Nothing: the case is closed.", "対応済み(クローズ)です。"),
    "lock_silent": (
        "Not locked yet: the tablet has been silent since {at}.",
        "まだロックされていません。端末は {at} から応答がありません。",
    ),
    "lock_never_heard": (
        "Not locked yet: the tablet has never been heard.",
        "まだロックされていません。端末からの通信は一度もありません。",
    ),
    "lock_under_way": (
        "Not locked yet: it was heard at {at} and has not confirmed.",
        "まだロックされていません。端末は {at} に通信しましたが、ロックの報告はまだありません。",
    ),
    "lock_again": (
        "Not locked, and no lock is in line: lock it.",
        "ロックされておらず、指示も出ていません。ロックしてください。",
    ),
    "not_enrolled": (
        "Not locked: the tablet is not enrolled, nothing can reach it. It is locked as soon as it enrols.",
        "ロックできません。端末は管理下にないため指示が届きません。再登録されしだいロックします。",
    ),
    "record_gone": (
        "The tablet's record is gone. It is locked as soon as its serial number enrols again.",
        "端末の台帳がありません。同じシリアル番号が再登録されしだいロックします。",
    ),
    "secured": (
        "The tablet is locked. Locate it, ask for a wipe, or close.",
        "ロック済みです。位置確認・初期化申請・終了ができます。",
    ),
    "screen_locked": (
        "The screen was locked once; without a passcode that protects nothing.",
        "画面を一度ロックしました。パスコードのない端末では保護になりません。",
    ),
    "wipe_approval": ("A second person must agree to the wipe.", "初期化には別の担当者の承認が必要です。"),
    "wipe_held": (
        "The wipe is agreed on and held; it can still be cancelled.",
        "初期化は承認済みで保留中です。まだ取り消せます。",
    ),
    "wipe_silent": (
        "Not wiped yet: the tablet has been silent since {at}. The wipe waits for it.",
        "まだ初期化されていません。端末は {at} から応答がありません。指示は待機しています。",
    ),
    "wipe_never_heard": (
        "Not wiped yet: the tablet has never been heard.",
        "まだ初期化されていません。端末からの通信は一度もありません。",
    ),
    "wipe_under_way": (
        "Not wiped yet: it was heard at {at} and has not confirmed.",
        "まだ初期化されていません。端末は {at} に通信しましたが、報告はまだありません。",
    ),
    "wipe_again": (
        "The tablet enrolled anew at {at} and was not wiped: the former order is void. Ask for the wipe anew.",
        "端末は {at} に再登録され、初期化されていません。以前の指示は無効です。改めて初期化を申請してください。",
    ),
    "wiped": (
        "The tablet has said that it was wiped. Close the case.",
        "端末から初期化の報告がありました。終了してください。",
    ),
    "found_silent": (
        "Still locked: the tablet has been silent since {at}.",
        "まだロック中です。端末は {at} から応答がありません。",
    ),
    "found_never_heard": (
        "Still locked: the tablet has never been heard.",
        "まだロック中です。端末からの通信はありません。",
    ),
    "found_under_way": (
        "Still locked: it was heard at {at} and has not confirmed.",
        "まだロック中です。端末は {at} に通信しましたが、解除の報告はまだありません。",
    ),
    "found_still_locked": (
        "Still locked, and nothing is in line to free it: find it again.",
        "まだロック中で、解除の指示がありません。",
    ),
    "found_free": ("The tablet is free. The case closes by itself.", "ロックは解除されました。自動で終了します。"),
    "broken": ("Hand out a spare, or send the tablet to repair.", "代替機を渡すか、修理に出してください。"),
    "swapped": (
        "The holder has a spare. Send the broken tablet to repair, or retire it.",
        "代替機を貸与中です。故障機を修理に出すか、廃止してください。",
    ),
    "repairing": ("The tablet is at the repairer's since {at}.", "端末は {at} から修理中です。"),
    "late": ("The holder was not reminded yet.", "まだ督促していません。"),
    "reminded": ("The holder was reminded; the tablet is not back.", "督促済みです。まだ返却されていません。"),
}

_STATES: Final[Mapping[CommandState, tuple[str, str]]] = {
    CommandState.HELD: ("waits for a second person", "承認待ち"),
    CommandState.QUEUED: ("in line", "送信待ち"),
    CommandState.SENT: ("the tablet was woken for it", "端末に通知済み"),
    CommandState.DELIVERED: ("handed to the tablet", "端末が受信"),
    CommandState.NOT_NOW: ("the tablet put it off", "端末が延期"),
    CommandState.DONE: ("the tablet has done it", "端末が実行済み"),
    CommandState.FAILED: ("the tablet could not do it", "端末が失敗"),
    CommandState.EXPIRED: ("ran out", "期限切れ"),
    CommandState.CANCELLED: ("cancelled", "取消し"),
    CommandState.SUPERSEDED: ("replaced by a newer one", "新しい指示に置換え"),
}
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    Kind.LOST_MODE_ON.value: ("lost mode on", "紛失モード開始"),
    Kind.LOST_MODE_OFF.value: ("lost mode off", "紛失モード解除"),
    Kind.LOCK_SCREEN.value: ("lock the screen", "画面ロック"),
    Kind.LOCATE.value: ("locate", "位置確認"),
    Kind.PLAY_SOUND.value: ("play a sound", "音を鳴らす"),
    Kind.WIPE.value: ("wipe", "初期化"),
}


def jst(moment: datetime) -> str:
    """Return a moment as people here read it."""
    return f"{moment.astimezone(JST):%Y-%m-%d %H:%M:%S} JST"


def _said(words: tuple[str, str], language: Language, **moments: datetime | None) -> str:
    given = {name: "-" if moment is None else jst(moment) for name, moment in moments.items()}
    return words[0 if language == "en" else 1].format(**given)


def state_words(state: CommandState, language: Language = "en") -> str:
    """Say what a command's state means."""
    return _said(_STATES[state], language)


def kind_words(kind: str, language: Language = "en") -> str:
    """Say what a command asks."""
    return _said(_KINDS[kind], language)


def waiting(
    seen: Progress, *, came_back_at: datetime | None, wants_wipe: bool, repair_since: datetime | None
) -> Waiting:
    """Say what a case waits for."""
    if seen.state.closed:
        return Waiting(Who.NOBODY, "closed")
    kind = seen.facts.kind
    if kind is CaseKind.BROKEN:
        return _broken(seen.state, repair_since)
    if kind not in LOSS:
        return Waiting(Who.HOLDER, "reminded") if seen.facts.reminded else Waiting(Who.DESK, "late")
    if seen.facts.found:
        return _freed(seen)
    if came_back_at is not None and wants_wipe and seen.latest(Purpose.WIPE) is None:
        return Waiting(Who.DESK, "wipe_again", came_back_at)
    return _wiping(seen) or _locking(seen)


def _broken(state: State, since: datetime | None) -> Waiting:
    if state is State.REPAIRING:
        return Waiting(Who.REPAIRER, "repairing", since)
    return Waiting(Who.DESK, "swapped" if state is State.SWAPPED else "broken")


def _freed(seen: Progress) -> Waiting:
    unlock = seen.latest(Purpose.UNLOCK)
    if unlock is not None and unlock.live:
        return _tablet("found", unlock, seen.line)
    return Waiting(Who.DESK, "found_still_locked") if seen.line.lost_mode else Waiting(Who.NOBODY, "found_free")


def _wiping(seen: Progress) -> Waiting | None:
    wipe = seen.latest(Purpose.WIPE)
    if wipe is None:
        return None
    if wipe.state is CommandState.HELD:
        agreed = seen.facts.wipe_agreed
        return Waiting(Who.SENDER if agreed else Who.SECOND_PERSON, "wipe_held" if agreed else "wipe_approval")
    if wipe.live:
        return _tablet("wipe", wipe, seen.line)
    return Waiting(Who.DESK, "wiped") if wipe.state is CommandState.DONE else None


def _locking(seen: Progress) -> Waiting:
    if not seen.line.there:
        return Waiting(Who.TABLET, "record_gone")
    lock = seen.latest(Purpose.LOCK)
    if seen.line.lost_mode:
        return Waiting(Who.DESK, "secured")
    if lock is not None and lock.live:
        return _tablet("lock", lock, seen.line)
    if seen.line.status is not EnrollmentStatus.ACTIVE:
        return Waiting(Who.TABLET, "not_enrolled")
    return Waiting(Who.DESK, "screen_locked" if seen.facts.locked else "lock_again")


def _tablet(what: str, asked: Asked, line: Line) -> Waiting:
    """Say that the tablet has the next move, and whether it has been heard since it was asked."""
    if line.last_seen_at is None:
        return Waiting(Who.TABLET, f"{what}_never_heard")
    heard = line.last_seen_at >= asked.created_at
    return Waiting(Who.TABLET, f"{what}_under_way" if heard else f"{what}_silent", line.last_seen_at)


def event_words(what: str, language: Language = "en") -> str:
    """Say what a line of a timeline tells."""
    return _said(words.EVENTS[what], language)


def field_words(name: str, language: Language = "en") -> str:
    """Name a field of the written report."""
    return _said(words.FIELDS[name], language)
