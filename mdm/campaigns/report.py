"""The report of a campaign, tablet by tablet: what the certificates of erasure are made from. Writes lines only."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from mdm.campaigns.fitness import Why
from mdm.campaigns.models import CampaignTablet, TabletState
from mdm.csvfile import csv_line
from mdm.organization.hours import JST

_HEADERS: Final = (
    *("管理番号", "シリアル番号", "学校コード", "棚卸日時", "結果", "理由", "回", "命令番号"),
    *("送出日時", "受領日時", "完了日時"),
)
_STATES: Final = {
    TabletState.WAITING: "未着手",
    TabletState.HELD: "待機",
    TabletState.SENT: "送出済・応答待ち",
    TabletState.DONE: "消去済",
    TabletState.FAILED: "失敗",
    TabletState.FELL_OUT: "対象外",
}
_REASONS: Final = {
    Why.NOT_RETURNED: "返却状態でない",
    Why.CASE: "紛失等の対応中",
    Why.NOT_ENROLLED: "管理外",
    Why.NO_SCAN: "棚卸なし",
    Why.OLD_SCAN: "棚卸が古い",
    Why.ELSEWHERE: "別の場所で読取",
    Why.OTHER_WIPE: "個別の消去命令あり",
    Why.ENROLLED_AGAIN: "再登録",
    Why.NEW_HOLDER: "利用者の変更",
    Why.CHANGED: "番号の変更",
    Why.CANCELLED: "命令の取消",
    Why.WINDOW_OVER: "実施期間の終了",
    Why.ABORTED: "中止",
    Why.EXPIRED: "期限切れ",
}


def csv_lines(tablets: Iterable[CampaignTablet]) -> Iterator[str]:
    """Yield the report as CSV: Japanese headers and words, moments in Japan's time."""
    yield csv_line(_HEADERS)
    for each in tablets:
        reason = _REASONS.get(Why(each.reason), each.reason) if each.reason else ""
        cells = (
            *(each.control_number, each.serial, each.school, _moment(each.scanned_at)),
            *(_STATES[TabletState(each.state)], reason, "" if each.wave is None else str(each.wave)),
            *("" if each.command_id is None else str(each.command_id), _moment(each.left_at)),
            *(_moment(each.delivered_at), _moment(each.ended_at)),
        )
        yield csv_line(cells)


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(JST).isoformat(timespec="seconds")
