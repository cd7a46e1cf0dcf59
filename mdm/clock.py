"""The one clock. Leases and expiry use the database's clock instead; this one is for everything else."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)
