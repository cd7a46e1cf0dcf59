"""What each carrier's module must offer, and which module that is. Nothing else."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Protocol, assert_never

from mdm.cellular.carriers import control_center, icms, soracom
from mdm.cellular.carriers.connection import Connection
from mdm.cellular.carriers.values import Act, Capabilities, Page, Receipt, Refused, SimKey, SimRecord, Usage
from mdm.cellular.models import CarrierKind


class Carrier(Protocol):
    """What a carrier's module offers. Calls go by the connection and raise `CarrierError`."""

    def capabilities(self) -> Capabilities:
        """Return what the interface can do, as its documentation says."""
        ...

    def sims(
        self, connection: Connection, *, changed_since: datetime | None, cursor: Mapping[str, Any] | None
    ) -> Page[SimRecord]:
        """Return a page of all lines, or of those that changed; begin with no cursor."""
        ...

    def sim(self, connection: Connection, key: SimKey) -> SimRecord:
        """Return one line as the carrier has it now: what an act is read back by."""
        ...

    def usage(
        self, connection: Connection, *, first: date, last: date, cursor: Mapping[str, Any] | None
    ) -> Page[Usage]:
        """Return a page of usage of all lines from day to day (both included, days of the source's time zone)."""
        ...

    def act(self, connection: Connection, act: Act, *, idempotency_key: str) -> Receipt:
        """Ask for an act. `Unreachable` leaves open whether it was done: read the line before asking again."""
        ...


def carrier_of(kind: CarrierKind) -> Carrier:
    """Return the module that speaks this carrier's interface; `Refused` where the figures come in files."""
    match kind:
        case CarrierKind.SORACOM:
            return soracom
        case CarrierKind.CONTROL_CENTER:
            return control_center
        case CarrierKind.ICMS:
            return icms
        case CarrierKind.CSV:
            raise Refused("an account of files has no interface to ask")
        case _:
            assert_never(kind)
