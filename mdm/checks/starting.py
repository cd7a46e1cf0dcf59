"""Starts whereabouts checks, by hand or on their day: freezes the list of tablets, and plans the next of a rhythm."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock, jobs
from mdm.audit import chain
from mdm.auth.principal import Principal
from mdm.auth.rights import Action
from mdm.checks import plans
from mdm.checks.models import CheckState, Repeats, WhereaboutsCheck
from mdm.checks.sought import CASE, SOUGHT
from mdm.checks.values import LONGEST_DAYS, Days, begin_of, following, today
from mdm.devices import ledger
from mdm.devices.models import LedgerState
from mdm.errors import Conflict
from mdm.jobs import Job
from mdm.organization.hours import fiscal_year


def start(session: Session, principal: Principal, check_id: UUID) -> WhereaboutsCheck:
    """Start a check: today becomes its first day if it was to begin later. Its list stands from now on.

    Raises `Conflict` when it is not planned any more, or ends before today.
    """
    principal.must(Action.RUN_CHECKS)
    check = plans.find(session, principal.scope, check_id, locked="update")
    plans.must_reach(session, principal, check)
    plans.must_be(check, CheckState.PLANNED)
    day = today(clock.now())
    if check.last_day < day:
        raise Conflict("its last day is over; copy it to other days")
    if (check.last_day - day).days > LONGEST_DAYS:
        raise Conflict(f"from today it would last longer than {LONGEST_DAYS} days; copy it to other days")
    planned = Days(first_day=check.first_day, last_day=check.last_day)
    check.first_day = min(check.first_day, day)
    check.fiscal_year = fiscal_year(check.first_day)
    check.checkins_from = begin_of(check.first_day) - timedelta(days=check.checkin_days)
    listed = _freeze(session, check, planned)
    chain.record(session, principal, "check.start", f"check:{check.id}", {"tablets": listed})
    return check


def begin_due(session: Session) -> int:
    """Start the checks whose first day has come and return how many; for the job.

    One whose last day went by while nothing ran starts all the same: what it cannot verify is told at once.
    """
    due = (
        select(WhereaboutsCheck)
        .where(
            col(WhereaboutsCheck.state) == CheckState.PLANNED.value,
            col(WhereaboutsCheck.first_day) <= today(clock.now()),
        )
        .with_for_update(skip_locked=True)
    )
    begun = list(session.exec(due))
    for check in begun:
        listed = _freeze(session, check, Days(first_day=check.first_day, last_day=check.last_day))
        chain.record(session, plans.ACTOR, "check.start", f"check:{check.id}", {"tablets": listed})
    return len(begun)


_WITH_SOMEBODY: Final = ", ".join(
    f"'{state.value}'" for state in (LedgerState.STOCK, LedgerState.ISSUED, LedgerState.LOST, LedgerState.REPAIR)
)
"""What has been returned or retired is with nobody, and left out without a word unless it is asked for."""
_LIST: Final = f"""
WITH chosen AS (
    SELECT s.id FROM school s WHERE :all OR s.id IN (SELECT school_id FROM check_school WHERE check_id = :id)
), named AS (
    INSERT INTO check_school (check_id, school_id) SELECT CAST(:id AS uuid), id FROM chosen ON CONFLICT DO NOTHING
)
INSERT INTO check_task (check_id, device_id, school_id, year, class_name, holder_id, state, hand, excluded)
SELECT CAST(:id AS uuid), d.id, d.school_id, k.year, k.name, d.holder_id, d.state,
    CASE WHEN {SOUGHT} OR NOT d.state = ANY(CAST(:states AS text[])) THEN NULL
        WHEN d.state = ANY(CAST(:by_hand AS text[])) THEN 'must_be_seen'
        WHEN coalesce(e.last_seen_at < CAST(:silent_before AS timestamptz), true) THEN 'silent' END,
    CASE WHEN {SOUGHT} THEN '{CASE}' WHEN d.state = ANY(CAST(:states AS text[])) THEN NULL ELSE d.state END
FROM device d JOIN chosen ON chosen.id = d.school_id LEFT JOIN enrollment e ON e.device_id = d.id
    LEFT JOIN holder h ON h.id = d.holder_id LEFT JOIN school_class k ON k.id = h.class_id
WHERE d.state = ANY(CAST(:states AS text[])) OR d.state IN ({_WITH_SOMEBODY})
RETURNING excluded
"""


def _freeze(session: Session, check: WhereaboutsCheck, planned: Days) -> int:
    """Write down which tablets are to be found; return how many. A rhythm goes on from the days that were planned."""
    now = clock.now()
    ledger.hold(session)  # a list of one moment, not of half an import
    rows = session.execute(
        text(_LIST),
        {
            "id": check.id,
            "all": check.all_schools,
            "states": check.states,
            "by_hand": check.by_hand,
            "silent_before": now - timedelta(days=check.silent_days),
        },
    )
    listed = sum(row.excluded is None for row in rows)
    check.state = CheckState.RUNNING
    check.started_at = now
    session.add(check)
    session.flush()
    _repeat(session, check, planned)
    jobs.ring(session, Job.CHECKS)
    return listed


def _repeat(session: Session, check: WhereaboutsCheck, planned: Days) -> None:
    """Plan the next one of a rhythm, once."""
    days = following(planned, Repeats(check.repeats))
    if days is None:
        return
    update = {**days.model_dump(), "repeats": Repeats(check.repeats)}
    successor = plans.planned(
        plans.plan_of(session, check).model_copy(update=update), plans.ACTOR, all_schools=check.all_schools
    )
    successor.follows = check.id
    session.add(successor)
    session.flush()
    session.refresh(successor)
    session.execute(
        text(
            "INSERT INTO check_school (check_id, school_id)"
            " SELECT CAST(:new AS uuid), school_id FROM check_school WHERE check_id = :old AND NOT :all"
        ),
        {"new": successor.id, "old": check.id, "all": check.all_schools},
    )
    chain.record(session, plans.ACTOR, "check.plan", f"check:{successor.id}", {"follows": str(check.id)})
