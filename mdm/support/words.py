"""The desk's vocabulary on paper, in English and Japanese: events, fields and headings. Words only."""

from collections.abc import Mapping
from typing import Final

EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "open": ("case opened", "受付"),
    "state": ("state", "状態変更"),
    "lock": ("lock asked for", "ロック指示"),
    "lock_refused": ("lock not possible", "ロック不可"),
    "unlock": ("release asked for", "解除指示"),
    "unlock_refused": ("release not possible", "解除不可"),
    "locate": ("location asked for", "位置確認指示"),
    "locate_refused": ("location not possible", "位置確認不可"),
    "location_read": ("location looked at", "位置情報を閲覧"),
    "sound": ("sound asked for", "音の指示"),
    "sound_refused": ("sound not possible", "音の指示不可"),
    "wipe": ("wipe requested", "初期化を申請"),
    "wipe_refused": ("wipe not possible", "初期化不可"),
    "wipe_cancel": ("wipe taken back", "初期化を取消し"),
    "sim": ("wish for the SIM", "SIM の依頼"),
    "verify": ("caller verified", "通報者を確認"),
    "found": ("found", "発見"),
    "ledger": ("ledger", "台帳"),
    "came_back": ("the tablet enrolled anew", "端末が再登録"),
    "reopen": ("case opened again", "再開"),
    "overdue": ("time ran out", "期限超過"),
    "purge": ("locations erased", "位置情報を消去"),
    "remind": ("holder reminded", "督促"),
    "become": ("became another kind", "種別変更"),
    "swap": ("spare handed out", "代替機を貸与"),
    "undo_swap": ("spare taken back", "代替機を回収"),
    "send_repair": ("sent to repair", "修理に出した"),
    "repair_back": ("back from repair", "修理から戻った"),
    "note": ("memo", "メモ"),
    "close": ("case closed", "終了"),
}
"""Every line that a timeline can have; a test holds it."""

FIELDS: Final[Mapping[str, tuple[str, str]]] = {
    "case_id": ("case", "ケース番号"),
    "kind": ("kind", "種別"),
    "state": ("state", "状態"),
    "school_code": ("school code", "学校コード"),
    "school_name": ("school", "学校名"),
    "control_number": ("control number", "管理番号"),
    "serial": ("serial number", "シリアル番号"),
    "first_notice_at": ("first notice", "第一報"),
    "caller": ("caller", "通報者"),
    "verified": ("caller verified by", "本人確認の方法"),
    "lock_asked_at": ("lock asked for", "ロック指示"),
    "locked_at": ("locked, by the tablet's word", "ロック完了(端末の報告)"),
    "lock_protects": ("kind of lock", "ロックの種類"),
    "wipe_requested_at": ("wipe requested", "初期化の申請"),
    "wipe_approved_at": ("wipe approved", "初期化の承認"),
    "wiped_at": ("wiped, by the tablet's word", "初期化完了(端末の報告)"),
    "last_heard_at": ("last heard", "最終通信"),
    "location_looks": ("looks at the location", "位置情報の閲覧回数"),
    "sim_wanted": ("SIM wanted", "SIM の依頼"),
    "police_report_no": ("police report", "警察届出番号"),
    "insurance_no": ("insurance", "保険番号"),
    "found_at": ("found", "発見"),
    "closed_at": ("closed", "終了"),
    "open_points": ("open points", "未了・未確認の事項"),
}
"""Every field of the written report; a test holds it."""

TIMELINE: Final = ("Timeline of case", "対応記録 ケース番号")
REPORT: Final = ("Incident report of case", "事故報告書 ケース番号")
