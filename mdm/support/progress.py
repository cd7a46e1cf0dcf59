"""What has become of what a case asked of its tablet: the commands, their steps, and where the case stands by them.

Reads commands, asks for none. What is settled here is only what the tablet and the second person have said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm.commands.kinds import Kind
from mdm.commands.models import LIVE_STATES, CommandState
from mdm.devices.models import EnrollmentStatus
from mdm.safeguards.models import ApprovalState
from mdm.support.kinds import CaseKind, Purpose, Verified
from mdm.support.models import Case
from mdm.support.states import Facts, State, state_of

PURPOSES: Final[Mapping[str, Purpose]] = {
    Kind.LOST_MODE_ON.value: Purpose.LOCK,
    Kind.LOCK_SCREEN.value: Purpose.LOCK,
    Kind.LOST_MODE_OFF.value: Purpose.UNLOCK,
    Kind.LOCATE.value: Purpose.LOCATE,
    Kind.PLAY_SOUND.value: Purpose.SOUND,
    Kind.WIPE.value: Purpose.WIPE,
}
_COLUMNS: Final = (
    "c.id, c.kind, c.state, c.epoch, c.created_at, c.sent_at, c.delivered_at, c.ended_at, c.error, c.approval_id"
)
_MEANWHILE: Final = (
    "device_id = :device AND kind = ANY(CAST(:kinds AS text[])) AND created_at >= :since"
    " AND created_at <= coalesce(CAST(:until AS timestamptz), 'infinity')"
)
_ASKED: Final = f"""
WITH mine AS MATERIALIZED (
    SELECT command_id AS id FROM case_command WHERE case_id = :case
    UNION SELECT id FROM command WHERE {_MEANWHILE}
    UNION SELECT id FROM command_past WHERE {_MEANWHILE}
), every AS (
    SELECT {_COLUMNS} FROM command c WHERE c.id = ANY (ARRAY (SELECT id FROM mine))
    UNION ALL SELECT {_COLUMNS} FROM command_past c WHERE c.id = ANY (ARRAY (SELECT id FROM mine))
)
SELECT {_COLUMNS}, a.state AS approval, a.decided_at FROM every c LEFT JOIN approval a ON a.id = c.approval_id
ORDER BY c.id
"""
"""What the case asked for, and what was asked of its tablet meanwhile at any other door."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One command about which the case wants to know."""

    id: UUID
    kind: Kind
    state: CommandState
    epoch: int
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    ended_at: datetime | None
    error: tuple[str, ...]
    """What the tablet gave as reasons."""
    approval_id: UUID | None
    approval: ApprovalState | None
    decided_at: datetime | None

    @property
    def purpose(self) -> Purpose:
        """What it was asked for."""
        return PURPOSES[self.kind.value]

    @property
    def agreed(self) -> bool:
        """Whether a second person has agreed to it."""
        return self.approval is ApprovalState.APPROVED

    @property
    def live(self) -> bool:
        """Whether it is not over."""
        return self.state in LIVE_STATES


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one command."""

    at: datetime
    command_id: UUID
    state: CommandState
    note: str


@dataclass(frozen=True, slots=True)
class Line:
    """How the tablet itself stands."""

    there: bool
    """Its record is in the ledger."""
    status: EnrollmentStatus = EnrollmentStatus.ABSENT
    epoch: int = 0
    supervised: bool | None = None
    lost_mode: bool = False
    last_seen_at: datetime | None = None
    last_push_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A case and its tablet at one moment."""

    line: Line
    asked: tuple[Asked, ...]
    """Oldest first."""
    facts: Facts
    state: State

    def asked_for(self, purpose: Purpose) -> list[Asked]:
        """Return every command for a purpose, of former enrolments too, oldest first."""
        return [each for each in self.asked if each.purpose is purpose]

    def latest(self, purpose: Purpose) -> Asked | None:
        """Return the newest command for a purpose in the tablet's present enrolment."""
        fitting = [each for each in self.asked if each.purpose is purpose and each.epoch == self.line.epoch]
        return fitting[-1] if fitting else None


def look(session: Session, case: Case) -> Progress:
    """Return how a case stands now."""
    line = _line(session, case.device_id)
    asked = tuple(asked_of(session, case))
    bare = Progress(line, asked, Facts(CaseKind(case.kind)), State(case.state))
    facts = _facts(session, case, bare)
    if case.closed_at is not None or not line.there:
        # Of a tablet without a record nothing new can be heard.
        return Progress(line, asked, facts, State(case.state))
    return Progress(line, asked, facts, state_of(facts))


def take_up(session: Session, case: Case) -> None:
    """Let a new case know what is on its way to its tablet already, and what it was told of old and has done.

    A wipe that waits since an earlier case is this one's to show, and to take back when the tablet is found.
    """
    for purpose in (Purpose.LOCK, Purpose.UNLOCK, Purpose.WIPE):
        session.execute(
            text(
                "INSERT INTO case_command (case_id, command_id, purpose)"
                " SELECT :case, c.id, :purpose FROM command c JOIN enrollment e USING (device_id, epoch)"
                " WHERE c.device_id = :device AND c.kind = ANY(CAST(:kinds AS text[]))"
                " AND (c.state = ANY(CAST(:live AS text[])) OR (c.kind = :wipe AND c.state = 'done'))"
                " ON CONFLICT DO NOTHING"
            ),
            {
                "case": case.id,
                "device": case.device_id,
                "purpose": purpose.value,
                "kinds": [kind for kind, each in PURPOSES.items() if each is purpose],
                "live": [state.value for state in LIVE_STATES],
                "wipe": Kind.WIPE.value,
            },
        )


def steps(session: Session, asked: Sequence[Asked]) -> list[Step]:
    """Return every step of these commands, in the order of time."""
    if not asked:
        return []
    rows = session.execute(
        text(
            "SELECT at, command_id, state, note FROM command_event WHERE command_id = ANY(CAST(:ids AS uuid[]))"
            " AND at >= :since ORDER BY id"
        ),
        {"ids": [each.id for each in asked], "since": min(each.created_at for each in asked)},
    )
    return [Step(row.at, row.command_id, CommandState(row.state), row.note) for row in rows]


def _line(session: Session, device_id: int | None) -> Line:
    row = session.execute(
        text(
            "SELECT coalesce(e.status, 'absent') AS status, coalesce(e.epoch, 0) AS epoch, e.supervised,"
            " coalesce(e.lost_mode, false) AS lost_mode, e.last_seen_at, e.last_push_at"
            " FROM device d LEFT JOIN enrollment e ON e.device_id = d.id WHERE d.id = :id"
        ),
        {"id": device_id},
    ).first()
    if row is None:
        return Line(there=False)
    status = EnrollmentStatus(row.status)
    return Line(True, status, row.epoch, row.supervised, row.lost_mode, row.last_seen_at, row.last_push_at)


def asked_of(session: Session, case: Case) -> list[Asked]:
    """Return every command that the case asked for, or that its tablet was asked meanwhile, oldest first."""
    rows = session.execute(
        text(_ASKED),
        {
            "case": case.id,
            "device": case.device_id,
            "kinds": list(PURPOSES),
            "since": case.opened_at,
            "until": case.closed_at,
        },
    )
    return [
        Asked(
            row.id,
            Kind(row.kind),
            CommandState(row.state),
            row.epoch,
            row.created_at,
            row.sent_at,
            row.delivered_at,
            row.ended_at,
            tuple(str(each.get("localized") or each.get("domain") or each) for each in row.error or ()),
            row.approval_id,
            None if row.approval is None else ApprovalState(row.approval),
            row.decided_at,
        )
        for row in rows
    ]


def _facts(session: Session, case: Case, seen: Progress) -> Facts:
    lock, wipe = seen.latest(Purpose.LOCK), seen.latest(Purpose.WIPE)
    # Without supervision there is no lost mode that the tablet could report: its screen's lock is all there is.
    screen = lock is not None and lock.kind is Kind.LOCK_SCREEN and lock.state is CommandState.DONE
    repair = session.execute(
        text("SELECT count(*) FILTER (WHERE back_on IS NULL) FROM case_repair WHERE case_id = :id"), {"id": case.id}
    ).scalar_one()
    reminded = session.execute(
        text("SELECT EXISTS (SELECT FROM case_event WHERE case_id = :id AND what = 'remind')"), {"id": case.id}
    ).scalar_one()
    return Facts(
        kind=CaseKind(case.kind),
        verified=Verified(case.verified),
        locked=seen.line.lost_mode or screen,
        lock=lock.state if lock else None,
        wipe=wipe.state if wipe else None,
        wipe_agreed=wipe is not None and wipe.agreed,
        found=case.found_at is not None,
        swapped=case.spare_number is not None,
        in_repair=repair > 0,
        reminded=reminded,
    )
