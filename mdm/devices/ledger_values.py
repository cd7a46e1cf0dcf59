"""The values that planning a ledger import is made of. Nothing but data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from mdm.devices.ledger_entry import Entry, Fault, Notice
from mdm.devices.models import EnrollmentStatus, LedgerState
from mdm.organization.holders import Person


class Outcome(StrEnum):
    """What the import makes of a line that is right."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Tablet:
    """A tablet as the ledger and the file both can say it."""

    control_number: str
    serial: str
    platform: str
    model: str
    imei: str | None
    iccid: str | None
    school_code: str
    user_id: str | None
    lease_contract: str
    state: LedgerState

    @property
    def in_use(self) -> bool:
        """Whether it is the one tablet its holder may have; a lost or broken one stays on record beside it."""
        return self.state in (LedgerState.STOCK, LedgerState.ISSUED)


@dataclass(frozen=True, slots=True)
class Standing:
    """A tablet that is in the ledger now."""

    device_id: int
    enrollment: EnrollmentStatus
    tablet: Tablet


@dataclass(frozen=True, slots=True)
class Change:
    """One field, from what to what, fit to be shown."""

    field: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class PlanLine:
    """What happens to the tablet of one line."""

    line: int
    control_number: str
    outcome: Outcome
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the ledger holds now, and who is asking."""

    tablets: Mapping[str, Standing]
    """By control number."""
    person: Callable[[str], Person | None]
    """The holder of a user id, with the name in clear."""
    schools: Mapping[str, str]
    """Names by code."""
    allowed: frozenset[str] | None = None
    """Codes of the schools in the caller's scope; None for all, which also allows to add schools."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A line that is right so far, with the tablet and the holder it leads to."""

    entry: Entry
    standing: Standing | None
    tablet: Tablet
    person: Person | None
    old_person: Person | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import would do; nothing is done yet."""

    lines: tuple[PlanLine, ...]
    faults: tuple[Fault, ...]
    notices: tuple[Notice, ...]
    proposals: tuple[Proposal, ...]
    """Those that change something, in the order of the file."""
    schools: Mapping[str, str]
    """Names by code of the schools to add or to rename."""

    def count(self, outcome: Outcome) -> int:
        """Return how many lines have this outcome."""
        return sum(line.outcome is outcome for line in self.lines)
