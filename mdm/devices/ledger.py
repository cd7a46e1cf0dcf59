"""The ledger (台帳): plan an import against what is there, and write it set by set. Deletes and commits nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from mdm import jobs
from mdm.auth.principal import Scope
from mdm.devices.csvfile import Row
from mdm.devices.ledger_entry import read_entry
from mdm.devices.ledger_plan import compare
from mdm.devices.ledger_values import Ledger, Outcome, Plan, Proposal, Standing, Tablet
from mdm.devices.models import EnrollmentStatus, LedgerState
from mdm.errors import Conflict, Invalid
from mdm.jobs import Job
from mdm.organization import holders, schools
from mdm.organization.holders import Person, SealedPerson

_LOCK = 0x7461_6261_6E65_0002
"""The advisory lock that puts imports in line: a plan holds until it is written."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What an import has written."""

    new: int
    changed: int
    unchanged: int


def plan(session: Session, rows: Iterable[Row], scope: Scope, *, lock: bool = False) -> Plan:
    """Compare rows with the ledger, within the caller's schools; with `lock`, so that nobody writes in between.

    Reads the whole ledger once (15,000 tablets: some 100 ms): a serial, SIM or holder may be on any tablet.
    """
    if lock:
        hold(session)
    return compare((read_entry(row) for row in rows), _ledger(session, scope))


def hold(session: Session) -> None:
    """Wait until no other import is under way and keep it so to the end of this transaction."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _ledger(session: Session, scope: Scope) -> Ledger:
    known = schools.codes_and_names(session)
    sealed = holders.sealed_people(session)

    def person(user_id: str) -> Person | None:
        found: SealedPerson | None = sealed.get(user_id)
        return found.opened(with_name=True) if found else None

    return Ledger(
        tablets=_standing(session),
        person=person,
        schools={code: name for code, (_, name) in known.items()},
        allowed=None if scope.all_schools else frozenset(c for c, (id_, _) in known.items() if id_ in scope.school_ids),
    )


def _standing(session: Session) -> dict[str, Standing]:
    statement = text(
        "SELECT d.id, coalesce(e.status, 'absent') AS status, d.control_number, d.serial, d.platform, d.model,"
        " d.imei, d.iccid,"
        " s.code, h.user_id, d.lease_contract, d.state"
        " FROM device d JOIN school s ON s.id = d.school_id"
        " LEFT JOIN holder h ON h.id = d.holder_id LEFT JOIN enrollment e ON e.device_id = d.id"
    )
    return {
        row.control_number: Standing(
            row.id,
            EnrollmentStatus(row.status),
            Tablet(
                control_number=row.control_number,
                serial=row.serial,
                platform=row.platform,
                model=row.model,
                imei=row.imei,
                iccid=row.iccid,
                school_code=row.code,
                user_id=row.user_id,
                lease_contract=row.lease_contract,
                state=LedgerState(row.state),
            ),
        )
        for row in session.execute(statement).all()
    }


def apply(session: Session, made: Plan, *, skip_bad_rows: bool = False) -> Applied:
    """Write a plan made with `lock` in this transaction; `Invalid` names every faulty line unless they are skipped.

    Writing what is there already is left out, so an import twice over changes nothing the second time.
    """
    if made.faults and not skip_bad_rows:
        errors = [{"pointer": f"/lines/{fault.line}", "detail": fault.reason} for fault in made.faults]
        raise Invalid(f"nothing was imported: {len(errors):,} lines are wrong", errors=errors)
    try:
        schools.write_schools(session, made.schools)
        _write_people(session, made.proposals)
        _write_tablets(session, made.proposals)
    except IntegrityError:
        # A tablet that enrolled just now may have entered itself (require_ledger off).
        raise Conflict("the ledger changed while the file was read; nothing was imported, try again") from None
    return Applied(made.count(Outcome.NEW), made.count(Outcome.CHANGED), made.count(Outcome.UNCHANGED))


def _write_people(session: Session, proposals: Sequence[Proposal]) -> None:
    # Where two lines name one holder, the one with the tablet in use comes last and counts.
    told = sorted((p for p in proposals if p.person != p.old_person), key=lambda p: p.tablet.in_use)
    people = {p.person.user_id: p.person for p in told if p.person is not None}
    classes = ((p.school_code, p.year, p.class_name) for p in people.values() if p.year is not None and p.class_name)
    schools.write_classes(session, classes)
    holders.write_people(session, list(people.values()))
    moved = [
        p.person.user_id for p in proposals if p.person and p.old_person and _class(p.person) != _class(p.old_person)
    ]
    if moved:
        _mark_stale(session, "d.holder_id IN (SELECT id FROM holder WHERE user_id = ANY(CAST(:keys AS text[])))", moved)


def _class(person: Person) -> tuple[str, int | None, str | None]:
    return person.school_code, person.year, person.class_name


def _write_tablets(session: Session, proposals: Sequence[Proposal]) -> None:
    new = [p.tablet for p in proposals if p.standing is None]
    changed = [(p.standing, p.tablet) for p in proposals if p.standing is not None and p.standing.tablet != p.tablet]
    exchanged = [standing.device_id for standing, tablet in changed if standing.tablet.serial != tablet.serial]
    if exchanged:
        _exchange(session, exchanged)
    if changed:
        _update(session, changed)
    if new:
        _insert(session, new)
    moved = [
        standing.device_id
        for standing, tablet in changed
        if (standing.tablet.school_code, standing.tablet.user_id) != (tablet.school_code, tablet.user_id)
    ]
    if moved or exchanged:
        _mark_stale(session, "d.id = ANY(CAST(:keys AS bigint[]))", [*moved, *exchanged])
    if new:
        jobs.ring(session, Job.RETARGET)


_WISHES = (
    "unnest(CAST(:numbers AS text[]), CAST(:serials AS text[]), CAST(:platforms AS text[]), CAST(:models AS text[]),"
    " CAST(:imeis AS text[]), CAST(:iccids AS text[]), CAST(:codes AS text[]), CAST(:users AS text[]),"
    " CAST(:leases AS text[]), CAST(:states AS text[]))"
    " AS w (number, serial, platform, model, imei, iccid, code, user_id, lease, state)"
    " JOIN school s ON s.code = w.code LEFT JOIN holder h ON h.user_id = w.user_id"
)


def _wishes(tablets: Sequence[Tablet]) -> dict[str, list[str | None]]:
    return {
        "numbers": [tablet.control_number for tablet in tablets],
        "serials": [tablet.serial for tablet in tablets],
        "platforms": [tablet.platform for tablet in tablets],
        "models": [tablet.model for tablet in tablets],
        "imeis": [tablet.imei for tablet in tablets],
        "iccids": [tablet.iccid for tablet in tablets],
        "codes": [tablet.school_code for tablet in tablets],
        "users": [tablet.user_id for tablet in tablets],
        "leases": [tablet.lease_contract for tablet in tablets],
        "states": [tablet.state.value for tablet in tablets],
    }


def _insert(session: Session, tablets: Sequence[Tablet]) -> None:
    """Add tablets, each with its enrolment row, due to be told what they should be."""
    session.execute(
        text(
            "WITH added AS (INSERT INTO device (control_number, serial, platform, model, imei, iccid, school_id,"
            " holder_id, lease_contract, state) SELECT w.number, w.serial, w.platform, w.model, w.imei, w.iccid, s.id,"
            f" h.id, w.lease, w.state FROM {_WISHES} RETURNING id)"
            " INSERT INTO enrollment (device_id, desired_stale) SELECT id, true FROM added"
        ),
        _wishes(tablets),
    )


def _update(session: Session, changed: Sequence[tuple[Standing, Tablet]]) -> None:
    session.execute(
        text(
            "UPDATE device d SET serial = w.serial, platform = w.platform, model = w.model, imei = w.imei,"
            " iccid = w.iccid, school_id = s.id, holder_id = h.id, lease_contract = w.lease, state = w.state,"
            f" updated_at = now() FROM {_WISHES} WHERE d.control_number = w.number"
        ),
        _wishes([tablet for _, tablet in changed]),
    )


def _exchange(session: Session, device_ids: Sequence[int]) -> None:
    """Make way for other hardware under the same control number: nothing of the old tablet may serve the new one.

    Parks the serials first, so that two tablets can change places under the unique index.
    """
    keys = {"keys": list(device_ids)}
    here = "= ANY(CAST(:keys AS bigint[]))"
    session.execute(text(f"UPDATE device SET serial = '~' || id WHERE id {here}"), keys)
    session.execute(
        text(f"UPDATE device_identity SET revoked_at = now() WHERE device_id {here} AND revoked_at IS NULL"), keys
    )
    session.execute(text(f"DELETE FROM device_profile WHERE device_id {here}"), keys)
    session.execute(text(f"DELETE FROM wakeup WHERE device_id {here}"), keys)
    session.execute(text(f"DELETE FROM device_report WHERE device_id {here}"), keys)
    session.execute(
        text(
            "UPDATE enrollment SET status = 'absent', epoch = epoch + 1, udid = NULL, topic = NULL, push_token = NULL,"
            " push_magic = NULL, token_at = NULL, unlock_token = NULL, supervised = NULL, os_version = '',"
            " product = '', lost_mode = false, awaiting_configuration = false, installed_manifest = NULL,"
            f" unreachable_since = NULL, enrolled_at = NULL, last_seen_at = NULL WHERE device_id {here}"
        ),
        keys,
    )


def _mark_stale(session: Session, which: str, keys: Sequence[int] | Sequence[str]) -> None:
    """Note that what these tablets should be may have changed, and hint the recomputation."""
    session.execute(
        text(
            "UPDATE enrollment e SET desired_stale = true FROM device d"
            f" WHERE d.id = e.device_id AND NOT e.desired_stale AND {which}"
        ),
        {"keys": list(keys)},
    )
    jobs.ring(session, Job.RETARGET)
