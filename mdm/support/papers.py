"""A case on paper: one timeline of desk and tablet, and the written report of the incident (R-61). Reads only.

Nothing of a person is on it but the user id. Where the tablet was is not on it: that is erased with the case's end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, Field
from sqlmodel import Session, select

from mdm.commands.models import CommandState
from mdm.csvfile import csv_line
from mdm.organization.models import School
from mdm.support import lines, progress, timeline, wording
from mdm.support.cases import id_of
from mdm.support.kinds import Caller, CaseKind, Purpose, Verified
from mdm.support.models import Case
from mdm.support.progress import Asked, Progress
from mdm.support.states import State
from mdm.support.wording import Language


@dataclass(frozen=True, slots=True)
class Entry:
    """One line on paper: the desk's act, or the tablet's step."""

    at: datetime
    who: str
    what: str
    details: str


class IncidentReport(BaseModel):
    """The written report of a lost or stolen tablet, from what is on record; null says that it did not happen."""

    case_id: int
    kind: CaseKind
    state: State
    school_code: str
    school_name: str
    control_number: str
    serial: str
    first_notice_at: datetime = Field(description="When the desk was told.")
    caller: Caller
    verified: Verified
    lock_asked_at: datetime | None
    locked_at: datetime | None = Field(description="When the tablet said so.")
    lock_protects: str = Field(description="What the lock is worth.", examples=["lost_mode"])
    wipe_requested_at: datetime | None
    wipe_approved_at: datetime | None
    wiped_at: datetime | None = Field(description="When the tablet said so.")
    last_heard_at: datetime | None
    location_looks: int = Field(description="How often somebody looked where it was.")
    sim_wanted: str | None
    police_report_no: str | None
    insurance_no: str | None
    found_at: datetime | None
    closed_at: datetime | None
    open_points: list[str] = Field(description="What is not proved or not done.")


def entries(session: Session, case: Case, language: Language) -> list[Entry]:
    """Return the whole timeline of a case in the order of time: what people did, and each step of the tablet."""
    seen = progress.look(session, case)
    kinds = {each.id: each.kind.value for each in seen.asked}
    steps = [
        Entry(
            step.at,
            case.serial,
            f"{wording.kind_words(kinds[step.command_id], language)}: {wording.state_words(step.state, language)}",
            step.note,
        )
        for step in progress.steps(session, seen.asked)
    ]
    acts = [
        Entry(event.at, event.actor, wording.event_words(event.what, language), _flat(event.details))
        for event in timeline.lines(session, id_of(case))
    ]
    return sorted([*acts, *steps], key=lambda entry: entry.at)


def _flat(details: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in sorted(details.items()) if name != "command")


HEADERS: Final = {
    "ja": ("ケース番号", "管理番号", "日時", "操作者", "内容", "詳細"),
    "en": ("case", "control number", "time", "who", "what", "details"),
}


def timeline_csv(case: Case, lines: Iterable[Entry], language: Language) -> str:
    """Return the timeline as CSV whose cells no spreadsheet executes."""
    rows = [HEADERS[language]]
    rows += [
        (str(case.id), case.control_number, wording.jst(each.at), each.who, each.what, each.details) for each in lines
    ]
    return "".join(csv_line(row) for row in rows)


def incident(session: Session, case: Case) -> IncidentReport:
    """Write the report of a case."""
    seen = progress.look(session, case)
    school = session.exec(select(School).where(School.id == case.school_id)).one()
    lock, wipe = seen.asked_for(Purpose.LOCK), seen.asked_for(Purpose.WIPE)
    done = next((each for each in lock if each.state is CommandState.DONE), None)
    looks = [event for event in timeline.lines(session, id_of(case)) if event.what == "location_read"]
    return IncidentReport(
        case_id=id_of(case),
        kind=CaseKind(case.kind),
        state=seen.state,
        school_code=school.code,
        school_name=school.name,
        control_number=case.control_number,
        serial=case.serial,
        first_notice_at=case.opened_at,
        caller=case.caller,
        verified=case.verified,
        lock_asked_at=lock[0].created_at if lock else None,
        locked_at=done.ended_at if done else None,
        lock_protects=done.kind.value if done else "none",
        wipe_requested_at=wipe[0].created_at if wipe else None,
        wipe_approved_at=next((each.decided_at for each in reversed(wipe) if each.agreed), None),
        wiped_at=next((each.ended_at for each in wipe if each.state is CommandState.DONE), None),
        last_heard_at=seen.line.last_seen_at,
        location_looks=len(looks),
        sim_wanted=case.sim_wanted,
        police_report_no=case.police_report_no,
        insurance_no=case.insurance_no,
        found_at=case.found_at,
        closed_at=case.closed_at,
        open_points=_open_points(case, seen, lock, wipe, line_is_so=lines.is_so(session, case)),
    )


def _open_points(
    case: Case, seen: Progress, lock: Sequence[Asked], wipe: Sequence[Asked], *, line_is_so: bool
) -> list[str]:
    points = []
    if not any(each.state is CommandState.DONE for each in lock):
        points.append("the tablet has not confirmed any lock")
    elif not any(each.state is CommandState.DONE and each.kind.value == "lost_mode_on" for each in lock):
        points.append("only the screen was locked: without a passcode that protects nothing")
    if case.wants_wipe and not any(each.state is CommandState.DONE for each in wipe):
        points.append("the tablet has not confirmed the wipe")
    if case.verified == Verified.NOT_YET:
        points.append("the caller was not verified")
    if case.kind == CaseKind.STOLEN and not case.police_report_no:
        points.append("there is no number of a police report")
    if case.sim_wanted is not None and not line_is_so:
        points.append(f"the SIM is to be {case.sim_wanted}; no carrier has confirmed it")
    if case.found_at is not None and seen.line.lost_mode:
        points.append("the tablet is back and still locked")
    return points


def report_rows(report: IncidentReport, language: Language) -> list[tuple[str, str]]:
    """Return the report line by line, in words."""
    rows = []
    for name, value in report.model_dump().items():
        shown = wording.jst(value) if isinstance(value, datetime) else "-" if value in (None, []) else value
        if isinstance(shown, list):
            shown = "; ".join(shown)
        rows.append((wording.field_words(name, language), str(shown)))
    return rows


def report_csv(report: IncidentReport, language: Language) -> str:
    """Return the report as CSV of two columns."""
    return "".join(csv_line(row) for row in report_rows(report, language))
