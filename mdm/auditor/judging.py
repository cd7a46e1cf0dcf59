"""Judge whether a command of class A may have left: pure, from the facts of the rows and of the sealed trail alone.

Shares nothing with the code that lets commands leave but the form of what is signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from mdm.auth.webauthn import NotProved
from mdm.safeguards import signing
from mdm.safeguards.models import KeyKind

HARMLESS: Final = frozenset(
    {
        "lost_mode_on",
        "lost_mode_off",
        "lock_screen",
        "locate",
        "play_sound",
        "restart",
        "inventory_device",
        "inventory_security",
        "inventory_apps",
        "inventory_profiles",
        "inventory_restrictions",
        "renew_identity",
    }
)
"""Kinds that need no second person. A list of its own: calling a wipe harmless in `kinds` must not blind this. A kind
that is not named here is class A."""
LEFT: Final = frozenset({"queued", "sent", "delivered", "not_now", "done", "failed"})
"""States that only a command that was let go can have."""
_SLACK: Final = timedelta(minutes=1)
"""Between the clocks of our machines and the database's."""


class Fault(StrEnum):
    """Why a command should not have left."""

    NO_APPROVAL = "no_approval"
    NOT_APPROVED = "not_approved"
    ALONE = "alone"
    """Whoever asked approved it, or nobody is named."""
    OTHER_REQUESTER = "other_requester"
    """The request was made by somebody else than the command."""
    OUT_OF_TIME = "out_of_time"
    """Approved before it was asked for or after it ran out, or sent before it was approved."""
    OTHER_SUBJECT = "other_subject"
    """Something else, or another tablet, was approved."""
    REUSED = "reused"
    """Another command left by the same approval."""
    CHANGED = "changed"
    """The request's digest is not of what its row says now."""
    NOT_SIGNED = "not_signed"
    """The approver's key did not sign this, was not theirs, or did not count then."""
    KEY_NOT_ON_RECORD = "key_not_on_record"
    """The audit trail does not say that the host pinned this key for the approver."""
    NOT_ON_RECORD = "not_on_record"
    """The audit trail does not say that this person approved this digest."""
    NOT_LET_GO = "not_let_go"
    """The audit trail does not say that the sender let it go."""
    OVER_BUDGET = "over_budget"
    """More had left in the hour or the day than the thresholds of that time allow."""
    OVER_WAVE = "over_wave"
    """More of a campaign had left than its wave holds."""
    VANISHED = "vanished"
    """It was let go, and its row is not there any more."""


@dataclass(frozen=True, slots=True)
class Request:
    """The approval of a command, as its row stands."""

    id: UUID
    state: str
    action: str
    subject: Mapping[str, Any]
    digest: bytes
    reason: str
    requested_by: int
    requested_at: datetime
    expires_at: datetime
    decided_by: int | None
    decided_at: datetime | None
    urgent: bool
    signature: Mapping[str, Any] | None
    approver: str | None
    """The name of who decided."""
    key: "SigningKey | None"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key that signed it."""

    id: int
    operator_id: int
    kind: str
    public_key: bytes
    pinned_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Suspect:
    """A command of class A that has left, with its approval."""

    id: UUID
    device_id: int
    school_id: int
    kind: str
    arguments: Mapping[str, Any]
    epoch: int
    created_by: int | None
    first_moved_at: datetime | None
    """When it was first sent or handed over."""
    request: Request | None
    shared: bool
    """Another command that left names the same approval."""


@dataclass(frozen=True, slots=True)
class OnRecord:
    """What the sealed part of the audit trail says, as far as it concerns approvals."""

    approved: Mapping[str, frozenset[tuple[str, str]]]
    """By id of an approval or a campaign: the actors with their digests."""
    pinned: Mapping[str, tuple[str, str]]
    """By key id: the operator's name and the fingerprint."""
    let_go: frozenset[str]
    """Ids of commands."""
    before_seals: frozenset[str]
    """Approvals from before events were sealed: there were no signatures then."""


def faults_of(suspect: Suspect, trail: OnRecord) -> set[Fault]:
    """Return all that is wrong with a command's having left, but for budgets."""
    request = suspect.request
    if request is None:
        return {Fault.NO_APPROVAL}
    found = _plain_faults(suspect, request)
    if str(request.id) in trail.before_seals:
        return found
    if _digest(request) != request.digest:
        found.add(Fault.CHANGED)
    if not _is_signed(request):
        found.add(Fault.NOT_SIGNED)
    if request.key is None or trail.pinned.get(str(request.key.id)) != (
        request.approver,
        signing.fingerprint(request.key.public_key),
    ):
        found.add(Fault.KEY_NOT_ON_RECORD)
    if (f"operator:{request.approver}", request.digest.hex()) not in trail.approved.get(str(request.id), ()):
        found.add(Fault.NOT_ON_RECORD)
    if str(suspect.id) not in trail.let_go:
        found.add(Fault.NOT_LET_GO)
    return found


def _plain_faults(suspect: Suspect, request: Request) -> set[Fault]:
    found = set()
    if request.state != "approved":
        found.add(Fault.NOT_APPROVED)
    if request.decided_by is None or request.decided_by == request.requested_by:
        found.add(Fault.ALONE)
    if request.requested_by != suspect.created_by:
        found.add(Fault.OTHER_REQUESTER)
    if not _in_time(suspect, request):
        found.add(Fault.OUT_OF_TIME)
    if not _is_about(suspect, request.subject):
        found.add(Fault.OTHER_SUBJECT)
    if suspect.shared:
        found.add(Fault.REUSED)
    return found


def _in_time(suspect: Suspect, request: Request) -> bool:
    decided = request.decided_at
    if decided is None or not request.requested_at - _SLACK <= decided <= request.expires_at + _SLACK:
        return False
    return suspect.first_moved_at is None or suspect.first_moved_at >= decided - _SLACK


def _is_about(suspect: Suspect, subject: Mapping[str, Any]) -> bool:
    command = {
        "id": str(suspect.id),
        "kind": suspect.kind,
        "arguments": dict(suspect.arguments),
        "epoch": suspect.epoch,
    }
    devices = subject.get("devices")
    named = [each.get("id") for each in devices] if isinstance(devices, list) else []
    return subject.get("command") == command and named == [suspect.device_id]


def _digest(request: Request) -> bytes:
    return signing.digest(
        request.action,
        request.subject,
        reason=request.reason,
        requested_by=request.requested_by,
        expires_at=request.expires_at,
    )


def _is_signed(request: Request) -> bool:
    if request.decided_at is None or request.approver is None or request.decided_by is None:
        return False
    signed = signing.challenge(request.digest, approver=request.approver, urgent=request.urgent)
    return is_signed_by(request.key, request.decided_by, request.decided_at, signed, request.signature)


def is_signed_by(
    key: SigningKey | None, operator_id: int, at: datetime, challenge: bytes, signature: Mapping[str, Any] | None
) -> bool:
    """Say whether a key that counted for this person at that moment signed these 32 bytes."""
    if key is None or key.operator_id != operator_id:
        return False
    if key.pinned_at is None or key.pinned_at > at + _SLACK:
        return False
    if key.revoked_at is not None and key.revoked_at < at - _SLACK:
        return False
    parts = {name: str((signature or {}).get(name, "")) for name in signing.Signature.__dataclass_fields__}
    try:
        signing.verify(signing.Key(KeyKind(key.kind), key.public_key), challenge, signing.Signature(**parts))
    except (NotProved, ValueError):
        return False
    return True
