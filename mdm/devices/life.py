"""The life of a tablet's enrolment: it arrives, becomes reachable, leaves (reference Apple §1.2, §1.6).

Nothing here knows commands or profiles: what a new epoch does to those is told to them by the caller.
"""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from sqlalchemy import delete, func
from sqlmodel import Session, col, select

from mdm import clock, jobs, vault
from mdm.devices import identities
from mdm.devices.models import (
    Device,
    DeviceIdentity,
    Enrollment,
    EnrollmentStatus,
    LedgerState,
    Wakeup,
)
from mdm.errors import MdmError
from mdm.platform import Platform

_SHUT_OUT = (LedgerState.LOST, LedgerState.RETIRED)


class Stranger(MdmError):
    """The certificate is not this tablet's: unknown, revoked, never associated, or another's."""

    status = HTTPStatus.BAD_REQUEST
    slug = "stranger"


class Unwanted(MdmError):
    """The tablet proved who it is, and is not to be managed (any more)."""

    status = HTTPStatus.FORBIDDEN
    slug = "unwanted"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a tablet says about itself when it wants in; `identity` is the SHA-256 of its certificate."""

    identity: bytes
    udid: str
    serial: str
    """Upper case; empty where the tablet keeps silent about it."""
    topic: str
    os_version: str = ""
    product: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Arrived:
    """The outcome of an arrival; `new_epoch` is False for a renewal and for a repeated message."""

    device_id: int
    serial: str
    epoch: int
    new_epoch: bool


@dataclass(frozen=True, slots=True)
class Reachable:
    """The outcome of a token update; `first` when it is the one that completes an enrolment."""

    device_id: int
    serial: str
    epoch: int
    first: bool


@dataclass(frozen=True, slots=True)
class PushAddress:
    """Where the push service finds the tablet, and the secret that makes it listen."""

    topic: str
    token: bytes
    magic: str
    unlock_token: bytes | None = None
    """Absent in most updates; what is stored then stays."""
    awaiting_configuration: bool | None = None


def arrive(session: Session, arrival: Arrival, *, require_ledger: bool) -> Arrived:
    """Let a tablet in, or refuse it: `Stranger` for a certificate that is not its own, `Unwanted` by the ledger.

    The first message with a certificate associates it. A certificate issued as a renewal keeps the epoch and all that
    hangs on it; so does a repeated message, which may be a lost answer or a replay. Anything else begins a new epoch.
    """
    identity = identities.find(session, arrival.identity)
    if identity is None or identity.revoked_at is not None:
        raise Stranger("The certificate is not on record, or was revoked.")
    device = _claimant(session, arrival, identity, require_ledger=require_ledger)
    enrollment = _locked(session, device)
    _refuse_taken_udid(session, arrival.udid, enrollment.device_id)
    repeated = identity.associated_at is not None and enrollment.udid == arrival.udid
    identities.associate(session, arrival.identity, enrollment.device_id)
    live = enrollment.status in (EnrollmentStatus.PENDING, EnrollmentStatus.ACTIVE)
    renewed = identity.renewal and enrollment.status == EnrollmentStatus.ACTIVE and enrollment.udid == arrival.udid
    new_epoch = not (live and (repeated or renewed))
    if new_epoch:
        # Only who wants in is judged by the ledger: a lost tablet that renews its identity must stay within reach.
        _refuse_shut_out(device)
        _begin_epoch(session, enrollment, arrival)
        # The former installation is gone, and so is whoever held its key.
        identities.revoke_older(session, enrollment.device_id, than=arrival.identity)
    enrollment.os_version = (arrival.os_version or enrollment.os_version)[:32]
    enrollment.product = (arrival.product or enrollment.product)[:64]
    session.add(enrollment)
    session.flush()
    return Arrived(enrollment.device_id, device.serial, enrollment.epoch, new_epoch)


def _claimant(session: Session, arrival: Arrival, identity: DeviceIdentity, *, require_ledger: bool) -> Device:
    """Return the ledger row that the tablet claims and may claim with this certificate."""
    if not arrival.serial:
        raise Stranger("The tablet does not say its serial number.")
    device = session.exec(select(Device).where(Device.serial == arrival.serial).with_for_update()).first()
    if identity.device_id is not None and (device is None or device.id != identity.device_id):
        raise Stranger("The certificate belongs to another tablet.")
    if device is None:
        if require_ledger or identity.school_id is None:
            raise Unwanted("The serial number is not in the ledger.")
        device = _add_stock(session, arrival, identity.school_id)
    if device.platform != Platform.APPLE:
        raise Unwanted("The ledger knows this serial number as another kind of tablet.")
    if identity.device_id is None and device.school_id != identity.school_id:
        raise Unwanted("The ledger places this tablet in another school than the ticket.")
    return device


def _refuse_shut_out(device: Device) -> None:
    if device.state in _SHUT_OUT:
        raise Unwanted(f"The ledger says that this tablet is {LedgerState(device.state).value}.")


def _add_stock(session: Session, arrival: Arrival, school_id: int) -> Device:
    """Take an unknown tablet into the ledger as stock (setting `require_ledger` off); its serial is its number."""
    device = Device(
        control_number=arrival.serial,
        serial=arrival.serial,
        platform=Platform.APPLE,
        model=arrival.model[:64],
        school_id=school_id,
        updated_at=clock.now(),
    )
    session.add(device)
    session.flush()
    assert device.id is not None
    session.add(Enrollment(device_id=device.id))
    session.flush()
    return device


def _locked(session: Session, device: Device) -> Enrollment:
    statement = select(Enrollment).where(Enrollment.device_id == device.id).with_for_update()
    enrollment = session.exec(statement.execution_options(populate_existing=True)).first()
    if enrollment is None:
        assert device.id is not None
        enrollment = Enrollment(device_id=device.id)
        session.add(enrollment)
        session.flush()
    return enrollment


def _refuse_taken_udid(session: Session, udid: str, device_id: int) -> None:
    owner = session.exec(select(Enrollment.device_id).where(Enrollment.udid == udid)).first()
    if owner is not None and owner != device_id:
        raise Stranger("Another tablet of the ledger has this identifier.")


def _begin_epoch(session: Session, enrollment: Enrollment, arrival: Arrival) -> None:
    """Forget what was true of the former installation; the unlock token stays until the tablet sends a new one."""
    enrollment.epoch += 1
    enrollment.status = EnrollmentStatus.PENDING
    enrollment.udid = arrival.udid
    enrollment.topic = arrival.topic
    enrollment.push_token = None
    enrollment.push_magic = None
    enrollment.token_at = None
    enrollment.unreachable_since = None
    enrollment.awaiting_configuration = False
    enrollment.lost_mode = False
    enrollment.installed_manifest = None
    enrollment.desired_stale = True
    session.execute(delete(Wakeup).where(col(Wakeup.device_id) == enrollment.device_id))
    jobs.ring(session, jobs.Job.RETARGET, device_ids=[enrollment.device_id])


def recognise(session: Session, identity: bytes, udid: str) -> tuple[Device, Enrollment]:
    """Return the tablet behind a certificate that has authenticated; `Stranger`, or `Unwanted` when it was let go."""
    statement = (
        select(Device, Enrollment, DeviceIdentity)
        .join(Enrollment, col(Enrollment.device_id) == col(Device.id))
        .join(DeviceIdentity, col(DeviceIdentity.device_id) == col(Device.id))
        .where(
            DeviceIdentity.sha256 == identity,
            col(DeviceIdentity.associated_at).is_not(None),
            Enrollment.udid == udid,
        )
        .with_for_update(of=Enrollment)
    )
    row = session.exec(statement.execution_options(populate_existing=True)).first()
    if row is None:
        raise Stranger("The certificate is not this tablet's.")
    device, enrollment, record = row
    if enrollment.status == EnrollmentStatus.ENDED:
        raise Unwanted("The tablet is no longer managed.")
    if record.revoked_at is not None:
        raise Stranger("The certificate was replaced.")
    return device, enrollment


def token_update(session: Session, identity: bytes, udid: str, address: PushAddress) -> Reachable:
    """Note where the tablet can be pushed; the first one after its arrival completes the enrolment.

    The certificate it comes with is the one that counts from now on: older ones of this tablet are revoked.
    """
    device, enrollment = recognise(session, identity, udid)
    first = enrollment.status == EnrollmentStatus.PENDING
    if first:
        enrollment.status = EnrollmentStatus.ACTIVE
        enrollment.enrolled_at = _database_now(session)
    enrollment.topic = address.topic
    enrollment.push_token = address.token
    enrollment.push_magic = vault.seal("enrollment.push_magic", address.magic.encode())
    enrollment.token_at = _database_now(session)
    enrollment.unreachable_since = None
    if address.unlock_token:
        enrollment.unlock_token = vault.seal("enrollment.unlock_token", address.unlock_token)
    if address.awaiting_configuration is not None:
        enrollment.awaiting_configuration = address.awaiting_configuration
    session.add(enrollment)
    identities.revoke_older(session, enrollment.device_id, than=identity)
    session.flush()
    return Reachable(enrollment.device_id, device.serial, enrollment.epoch, first)


def check_out(session: Session, identity: bytes, udid: str) -> Arrived | None:
    """End an enrolment because the tablet says that it left; its history and its ledger row stay.

    A farewell signed with a certificate that has since been succeeded belongs to a former installation: None.
    """
    device, enrollment = recognise(session, identity, udid)
    if not identities.is_newest(session, enrollment.device_id, identity):
        return None
    _end(session, enrollment)
    return Arrived(enrollment.device_id, device.serial, enrollment.epoch, new_epoch=False)


def _end(session: Session, enrollment: Enrollment) -> None:
    enrollment.status = EnrollmentStatus.ENDED
    enrollment.push_token = None
    enrollment.push_magic = None
    session.add(enrollment)
    session.execute(delete(Wakeup).where(col(Wakeup.device_id) == enrollment.device_id))
    identities.revoke_all(session, enrollment.device_id)
    session.flush()


def _database_now(session: Session) -> datetime:
    return session.exec(select(func.now())).one()
