"""Which source's figure is shown, in the one place that decides it: bill, interface, file, tablet. Pure.

The ledger marks the days of the others when they come in (`usage_daily.superseded`); readers read `usage_shown`.
"""

from typing import Final

from mdm.cellular.models import UsageSource

BEST_FIRST: Final = [
    UsageSource.BILL.value,
    UsageSource.HOURS.value,
    UsageSource.API.value,
    UsageSource.CSV.value,
    UsageSource.DEVICE.value,
]
"""The interface's hours before its days: they are days of the billing time zone, where its days may be UTC's."""


def better_than(source: UsageSource) -> list[str]:
    """Return the sources whose figure is shown rather than this one's."""
    return BEST_FIRST[: BEST_FIRST.index(source.value)]


def worse_than(source: UsageSource) -> list[str]:
    """Return the sources whose figure is not shown where this one has any."""
    return BEST_FIRST[BEST_FIRST.index(source.value) + 1 :]
