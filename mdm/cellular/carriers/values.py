"""What carriers' adapters take and give: lines, usage, acts, what can be done and how fast. Values only.

Numbers of lines are in here: `repr` leaves them out, so that none gets into a log by the way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from mdm.cellular.models import ActionKind, SimStatus

T = TypeVar("T")


class By(StrEnum):
    """By which of its names a carrier speaks of a line."""

    ICCID = "iccid"
    CARRIER_ID = "carrier_id"
    IMSI = "imsi"
    MSISDN = "msisdn"


@dataclass(frozen=True, slots=True)
class SimKey:
    """One line, by the name that the carrier used; an ICCID with or without its check digit."""

    by: By
    value: str = field(repr=False)


class Figures(StrEnum):
    """In which form an interface tells usage."""

    HOURS = "hours"
    DAYS = "days"
    CYCLE_TO_DATE = "cycle_to_date"


@dataclass(frozen=True, slots=True)
class Limits:
    """How an interface wants to be asked; a contract may differ (`CarrierAccount.limits`)."""

    calls_per_s: float
    in_flight: int = 1
    page: int = 100


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an interface can do, as its documentation says."""

    figures: frozenset[Figures]
    acts: frozenset[ActionKind]
    limits: Limits
    names: frozenset[By] = frozenset({By.ICCID})
    """By which of its names a line can be asked for."""
    lists_changes: bool = False
    """Can be asked only for lines that changed since then."""
    speeds: tuple[str, ...] = ()
    """Its speed classes in its own words, slowest first."""
    usage_keeps_days: int = 0
    """How far back it can be asked for days, 0 where it knows only the running cycle and the ones just before."""


@dataclass(frozen=True, slots=True)
class SimRecord:
    """What a carrier says of one line now; None where it does not say."""

    key: SimKey
    status: SimStatus
    carrier_status: str
    """Its own word."""
    iccid: str | None = field(default=None, repr=False)
    carrier_sim_id: str | None = field(default=None, repr=False)
    eid: str | None = field(default=None, repr=False)
    imsi: str | None = field(default=None, repr=False)
    msisdn: str | None = field(default=None, repr=False)
    plan: str | None = None
    speed: str | None = None
    imei: str | None = field(default=None, repr=False)
    """The radio that the network sees it in."""
    imei_lock: str | None = field(default=None, repr=False)
    online: bool | None = None
    roaming: bool | None = None
    last_online_at: datetime | None = None
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UsageDay:
    """What one line used on one day of the source's own time zone. Bytes."""

    key: SimKey
    day: date
    utc_offset: int
    """Minutes by which the day begins before midnight UTC: 540 is a day in Japan."""
    total: int
    up: int | None = None
    down: int | None = None
    roaming: int | None = None
    sessions: int | None = None


@dataclass(frozen=True, slots=True)
class UsageHour:
    """What one line used in one hour. Bytes."""

    key: SimKey
    start: datetime
    total: int
    up: int | None = None
    down: int | None = None


@dataclass(frozen=True, slots=True)
class CycleToDate:
    """What a counter that runs through the billing cycle stood at. Bytes."""

    key: SimKey
    cycle_start: date
    """In the account's billing time zone."""
    taken_at: datetime
    total: int
    sessions: int | None = None
    final: bool = False
    """The cycle was over when it was read."""


Usage = UsageDay | UsageHour | CycleToDate


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of an answer. `cursor` asks for the next, and is plain JSON to be kept; None after the last."""

    items: tuple[T, ...]
    cursor: Mapping[str, Any] | None = None
    raw: tuple[bytes, ...] = field(default=(), repr=False)
    """The answers as received, for disputes."""
    wait_s: float = 0.0
    """Not before this the next is worth asking for: an export is still being made."""


@dataclass(frozen=True, slots=True)
class Act:
    """What is asked for one line."""

    kind: ActionKind
    key: SimKey
    value: str = ""
    """A speed class, a plan, or an IMEI, in the carrier's words."""
    imsi: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The carrier took it. That is not yet done: only reading the line back tells."""

    carrier_ref: str = ""


class CarrierError(Exception):
    """Something an interface answered, in words without numbers of lines, secrets or bodies."""

    def __init__(self, detail: str) -> None:
        """Keep the words."""
        super().__init__(detail)
        self.detail = detail


class Busy(CarrierError):
    """Too fast, or not now (429, 503): ask again after `retry_after_s`. What was asked has not been done."""

    def __init__(self, detail: str, retry_after_s: float) -> None:
        """Keep how long."""
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unreachable(CarrierError):
    """No answer, or a broken one (a line cut, 5xx): an act may or may not have been done."""


class Denied(CarrierError):
    """Key or rights are wrong (401, 403), also with a new token: somebody has to look at the account."""


class Refused(CarrierError):
    """The carrier will not do it (other 4xx); asking the same again is of no use."""


class Unclear(CarrierError):
    """An answer that does not read as documented."""
