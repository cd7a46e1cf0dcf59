"""The certificates the device CA issued, and whose they are (reference Apple §1.6): all SQL of that but the hot path's.

It must not judge a certificate's signature or chain: `mdm.cms` does, before anything here is asked.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from mdm import clock
from mdm.devices.models import DeviceIdentity


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate just issued; bound to a tablet, or to a school for a staging ticket."""

    sha256: bytes
    """SHA-256 of the certificate in DER."""
    not_after: datetime
    renew_at: datetime
    device_id: int | None = None
    school_id: int | None = None
    ticket_id: UUID | None = None
    renewal: bool = False


def register(session: Session, issued: Issued) -> None:
    """Put a certificate on record at its issuance; one that is not on record opens nothing."""
    session.add(
        DeviceIdentity(
            sha256=issued.sha256,
            device_id=issued.device_id,
            school_id=issued.school_id,
            ticket_id=issued.ticket_id,
            renewal=issued.renewal,
            not_after=issued.not_after,
            renew_at=issued.renew_at,
            issued_at=clock.now(),
        )
    )
    session.flush()


def find(session: Session, sha256: bytes) -> DeviceIdentity | None:
    """Return the record of a certificate, locked so that two tablets cannot both take it."""
    statement = select(DeviceIdentity).where(DeviceIdentity.sha256 == sha256).with_for_update()
    return session.exec(statement.execution_options(populate_existing=True)).first()


def associate(session: Session, sha256: bytes, device_id: int) -> None:
    """Bind a certificate to the tablet that authenticated with it; never moves one that is bound to another."""
    session.execute(
        update(DeviceIdentity)
        .where(
            col(DeviceIdentity.sha256) == sha256,
            (col(DeviceIdentity.device_id) == device_id) | col(DeviceIdentity.device_id).is_(None),
        )
        .values(device_id=device_id, associated_at=func.coalesce(DeviceIdentity.associated_at, func.now()))
    )


def revoke_older(session: Session, device_id: int, *, than: bytes) -> int:
    """Revoke the certificates that the tablet used before it first used `than`; return how many.

    Newer ones stay, used or not: a message signed with the old certificate must not lock out a renewal under way.
    """
    newer = select(DeviceIdentity.associated_at).where(DeviceIdentity.sha256 == than).scalar_subquery()
    result = session.execute(
        update(DeviceIdentity)
        .where(
            col(DeviceIdentity.device_id) == device_id,
            col(DeviceIdentity.sha256) != than,
            col(DeviceIdentity.revoked_at).is_(None),
            col(DeviceIdentity.associated_at) <= newer,
        )
        .values(revoked_at=func.now())
        .returning(col(DeviceIdentity.sha256))
    )
    return len(result.all())


def is_newest(session: Session, device_id: int, sha256: bytes) -> bool:
    """Say whether no certificate came into use by this tablet after `sha256` did."""
    newest = (
        select(DeviceIdentity.sha256)
        .where(DeviceIdentity.device_id == device_id, col(DeviceIdentity.associated_at).is_not(None))
        .order_by(col(DeviceIdentity.associated_at).desc())
        .limit(1)
    )
    return session.exec(newest).first() == sha256


def revoke_all(session: Session, device_id: int) -> None:
    """Revoke every certificate of a tablet, used or not: it left."""
    session.execute(
        update(DeviceIdentity)
        .where(col(DeviceIdentity.device_id) == device_id, col(DeviceIdentity.revoked_at).is_(None))
        .values(revoked_at=func.now())
    )
