"""Compare what a ledger file wishes with what the ledger holds: line by line new, changed, unchanged or wrong.

Pure: takes the ledger as a value and returns a plan; writes nothing. Shows no name, and of ICCID and IMEI the end only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields

from mdm.devices.ledger_claims import weed
from mdm.devices.ledger_entry import LEAVE, NOTICES, Entry, Fault, Leave, Notice, T
from mdm.devices.ledger_values import Change, Ledger, Outcome, Plan, PlanLine, Proposal, Standing, Tablet
from mdm.devices.models import EnrollmentStatus, LedgerState
from mdm.organization.holders import MASK, Person
from mdm.platform import Platform


class _Refused(Exception):
    """Why a line cannot be done."""


def compare(entries: Iterable[Entry | Fault], ledger: Ledger) -> Plan:
    """Return the plan for these lines against this ledger; a line is right only beside all the others."""
    faults: list[Fault] = []
    good: dict[str, Proposal] = {}
    consistency = _Consistency()
    for entry in entries:
        outcome = entry if isinstance(entry, Fault) else _consider(entry, ledger, good, consistency)
        if isinstance(outcome, Fault):
            faults.append(outcome)
        else:
            good[outcome.entry.control_number] = outcome
    faults.extend(weed(ledger, good))
    bad = {fault.line for fault in faults}
    right = [proposal for proposal in good.values() if proposal.entry.line not in bad]
    lines = tuple(_line(proposal, ledger) for proposal in right)
    return Plan(
        lines=lines,
        faults=tuple(sorted(faults, key=lambda fault: fault.line)),
        notices=tuple(Notice(p.entry.line, *NOTICES[p.entry.doubt]) for p in right if p.entry.doubt is not None),
        proposals=tuple(p for p, line in zip(right, lines, strict=True) if line.outcome is not Outcome.UNCHANGED),
        schools=_schools_to_write(right, ledger),
    )


def _consider(
    entry: Entry, ledger: Ledger, good: Mapping[str, Proposal], consistency: "_Consistency"
) -> Proposal | Fault:
    first = good.get(entry.control_number)
    if first is not None:
        return Fault(entry.line, f"the control number is on line {first.entry.line} already")
    try:
        proposal = _propose(entry, ledger)
        consistency.check(proposal)
    except _Refused as refusal:
        return Fault(entry.line, str(refusal))
    return proposal


class _Consistency:
    """Lines of one file must not tell two stories about one school or one holder."""

    def __init__(self) -> None:
        self._schools: dict[str, tuple[int, str]] = {}
        self._people: dict[str, tuple[int, tuple[tuple[int, str] | Leave | None, str | Leave]]] = {}

    def check(self, proposal: Proposal) -> None:
        entry, person = proposal.entry, proposal.person
        if entry.school_name is not LEAVE:
            line, name = self._schools.setdefault(entry.school_code, (entry.line, entry.school_name))
            if name != entry.school_name:
                raise _Refused(f"the school has another name on line {line}")
        if person is not None:
            # Where the holder is, the tablet in use says; a lost one may have stayed with a former school.
            told = (entry.class_, entry.name)
            line, other = self._people.setdefault(person.user_id, (entry.line, told))
            if other != told:
                raise _Refused(f"the user id has another year, class or name on line {line}")


def _propose(entry: Entry, ledger: Ledger) -> Proposal:
    standing = ledger.tablets.get(entry.control_number)
    _refuse_outside_scope(entry, standing, ledger)
    old = standing.tablet if standing else None
    user_id = _kept(entry.user_id, old.user_id if old else None)
    state = _kept(entry.state, old.state if old else (LedgerState.ISSUED if user_id else LedgerState.STOCK))
    tablet = Tablet(
        control_number=entry.control_number,
        serial=entry.serial,
        platform=_kept(entry.platform, old.platform if old else Platform.APPLE.value),
        model=_kept(entry.model, old.model if old else ""),
        imei=_kept(entry.imei, old.imei if old else None),
        iccid=_kept(entry.iccid, old.iccid if old else None),
        school_code=entry.school_code,
        user_id=user_id,
        lease_contract=_kept(entry.lease_contract, old.lease_contract if old else ""),
        state=state,
    )
    if standing and standing.tablet.serial != tablet.serial and _is_in_service(standing):
        raise _Refused("the serial number changes while the tablet is enrolled: retire it first, then exchange it")
    old_person = ledger.person(user_id) if user_id is not None and entry.user_id is not LEAVE else None
    if old_person is not None and ledger.allowed is not None and old_person.school_code not in ledger.allowed:
        raise _Refused("the user id belongs to a school outside your scope")
    person = (
        _person(entry, old_person, in_use=tablet.in_use) if user_id is not None and entry.user_id is not LEAVE else None
    )
    return Proposal(entry, standing, tablet, person, old_person)


def _is_in_service(standing: Standing) -> bool:
    return standing.tablet.state != LedgerState.RETIRED and standing.enrollment in (
        EnrollmentStatus.PENDING,
        EnrollmentStatus.ACTIVE,
    )


def _refuse_outside_scope(entry: Entry, standing: Standing | None, ledger: Ledger) -> None:
    if ledger.allowed is None:
        return
    if entry.school_code not in ledger.allowed:
        raise _Refused("the school code is outside your scope")
    if standing is not None and standing.tablet.school_code not in ledger.allowed:
        raise _Refused("the control number belongs to a school outside your scope")


def _person(entry: Entry, old: Person | None, *, in_use: bool) -> Person:
    assert isinstance(entry.user_id, str)
    school_code = entry.school_code if in_use or old is None else old.school_code
    if entry.class_ is LEAVE:
        # A class belongs to one school: whoever moves to another school without a class column leaves the class.
        stays = old is not None and old.school_code == school_code
        year, class_name = (old.year, old.class_name) if old is not None and stays else (None, None)
    else:
        year, class_name = entry.class_ or (None, None)
    name = _kept(entry.name, old.name if old else "")
    return Person(entry.user_id, school_code, year, class_name, name)


def _kept(wish: T | Leave, now: T) -> T:
    return now if isinstance(wish, Leave) else wish


def _line(proposal: Proposal, ledger: Ledger) -> PlanLine:
    entry = proposal.entry
    if proposal.standing is None:
        return PlanLine(entry.line, entry.control_number, Outcome.NEW)
    changes = tuple(_changes(proposal, proposal.standing.tablet, ledger))
    return PlanLine(entry.line, entry.control_number, Outcome.CHANGED if changes else Outcome.UNCHANGED, changes)


def _changes(proposal: Proposal, old: Tablet, ledger: Ledger) -> Iterable[Change]:
    if old != proposal.tablet:
        for field in fields(Tablet):
            before, after = getattr(old, field.name), getattr(proposal.tablet, field.name)
            if before != after:
                yield Change(field.name, _shown(field.name, before), _shown(field.name, after))
    code, name = proposal.entry.school_code, proposal.entry.school_name
    if name is not LEAVE and ledger.schools.get(code) != name:
        yield Change("school_name", ledger.schools.get(code, ""), name)
    if proposal.person is not None and proposal.person != proposal.old_person:
        yield from _person_changes(proposal.old_person, proposal.person)


def _person_changes(old: Person | None, new: Person) -> Iterable[Change]:
    if old is None or (old.year, old.class_name) != (new.year, new.class_name):
        yield Change("class", _class_shown(old), _class_shown(new))
    if old is None or old.name != new.name:
        yield Change("name", MASK if old and old.name else "", MASK if new.name else "")
    if old is not None and old.school_code != new.school_code:
        yield Change("holder_school", old.school_code, new.school_code)


def _class_shown(person: Person | None) -> str:
    return f"{person.year}-{person.class_name}" if person is not None and person.year is not None else ""


def _shown(field: str, value: str | None) -> str:
    if value and field in ("imei", "iccid"):
        return f"…{value[-4:]}"
    return value or ""


def _schools_to_write(right: Iterable[Proposal], ledger: Ledger) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for proposal in right:
        code, name = proposal.entry.school_code, proposal.entry.school_name
        if name is not LEAVE:
            wanted[code] = name
        elif code not in ledger.schools:
            wanted.setdefault(code, code)
    return {code: name for code, name in wanted.items() if ledger.schools.get(code) != name}
