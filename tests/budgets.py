"""Budgets so wide that they hold nobody up, for tests of other things that share a database within an hour."""

from typing import Final

from mdm.safeguards.threshold_values import Name

_WIDE: Final = [name.value for name in Name if name.value.split(".")[0] in ("a", "b", "acts", "accounts", "breaker")]
NO_BUDGETS: Final = "INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES " + ", ".join(
    f"('{name}', 100000, 'host', 'tests')" for name in _WIDE
)
"""SQL without parameters, for any connection."""
