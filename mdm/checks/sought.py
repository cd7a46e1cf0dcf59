"""Which tablets are being looked for by the support desk already. A condition for SQL; reads nothing itself."""

from typing import Final

from mdm.support.kinds import LOSS

CASE: Final = "case"
"""Stands in the place of a ledger state for a tablet in an open case of loss."""
SOUGHT: Final = (
    "EXISTS (SELECT 1 FROM support_case o WHERE o.device_id = d.id AND o.closed_at IS NULL"
    f" AND o.kind IN ({', '.join(sorted(repr(kind.value) for kind in LOSS))}))"
)
"""The tablet `d` is in an open case of loss or theft: the ledger says so only when it is written off."""
STANDS: Final = f"CASE WHEN {SOUGHT} THEN '{CASE}' ELSE d.state END"
"""Where the tablet `d` stands now: its ledger state, or `CASE`."""
