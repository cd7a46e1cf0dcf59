"""The one lock under which the inventory of SIMs is written, so that what was planned still holds then."""

from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.devices import ledger

_LOCK: Final = 0x7461_6261_6E65_0006


def hold(session: Session, *, with_ledger: bool = False) -> None:
    """Wait until nobody else writes bindings, memberships or imports, and keep it so to the end of this transaction.

    `with_ledger` for whoever also writes the ICCID of tablets; always in this order.
    """
    if with_ledger:
        ledger.hold(session)
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
