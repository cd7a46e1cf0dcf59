"""The rare messages of an iPad: it arrives, gives its address, leaves. One ordinary transaction each.

Called in a thread. Refusals are put on record apart, because the transaction that refused is rolled back.
"""

from collections import OrderedDict
from threading import Lock
from time import monotonic
from typing import Final

import structlog

from mdm import db, jobs
from mdm.apple.wire import Authenticate, CheckOut, Other, TokenUpdate
from mdm.audit import chain
from mdm.commands import epochs
from mdm.devices import life, wakeups
from mdm.devices.life import Arrival, Stranger, Unwanted
from mdm.devices.models import Lane
from mdm.settings import get_settings
from mdm.support import returns

_log = structlog.get_logger(__name__)

_RECORD_AGAIN_SECONDS: Final = 600.0
_REMEMBERED: Final = 4096


def authenticate(identity: bytes, message: Authenticate) -> None:
    """Let a tablet in or refuse it; `Stranger` or `Unwanted`, which are on record when this returns."""
    try:
        _authenticate(identity, message)
    except (Stranger, Unwanted) as refusal:
        _record_refusal(identity, message, refusal)
        raise


def _authenticate(identity: bytes, message: Authenticate) -> None:
    arrival = Arrival(
        identity=identity,
        udid=message.udid,
        serial=message.serial,
        topic=message.topic,
        os_version=message.os_version,
        product=message.product,
        model=message.model,
    )
    with db.transaction() as session:
        arrived = life.arrive(session, arrival, require_ledger=get_settings().enrollment.require_ledger)
        if arrived.new_epoch:
            epochs.begin(session, arrived.device_id, arrived.epoch)
            chain.record(
                session,
                f"tablet:{arrived.serial}",
                "enrollment.begin",
                f"device:{arrived.device_id}",
                {"epoch": arrived.epoch, "certificate": identity.hex()},
            )
    _log.info("tablet_arrived", device_id=arrived.device_id, epoch=arrived.epoch, outcome=str(arrived.new_epoch))


def token_update(identity: bytes, message: TokenUpdate) -> None:
    """Note the tablet's push address; the first one completes its enrolment and asks the first questions."""
    with db.transaction() as session:
        reachable = life.token_update(session, identity, message.udid, message.address)
        if reachable.first:
            epochs.ask_first_questions(session, reachable.device_id, reachable.epoch)
            returns.comes_back(session, reachable.device_id, reachable.serial, reachable.epoch)
            jobs.ring(session, jobs.Job.RETARGET, device_ids=[reachable.device_id])
            jobs.ring(session, jobs.Job.DISPATCH, lane=int(Lane.NORMAL))
            chain.record(
                session,
                f"tablet:{reachable.serial}",
                "enrollment.complete",
                f"device:{reachable.device_id}",
                {"epoch": reachable.epoch},
            )
        elif (lane := wakeups.hasten(session, reachable.device_id)) is not None:
            jobs.ring(session, jobs.Job.DISPATCH, urgent=lane is Lane.URGENT, lane=int(lane))


def check_out(identity: bytes, message: CheckOut) -> None:
    """End the enrolment because the tablet says that it left."""
    with db.transaction() as session:
        left = life.check_out(session, identity, message.udid)
        if left is not None:
            epochs.end(session, left.device_id, note="the tablet left the management")
            chain.record(session, f"tablet:{left.serial}", "enrollment.end", f"device:{left.device_id}", {})


def recognise(identity: bytes, message: Other) -> None:
    """Check that a message of another kind comes from a tablet that is managed; `Stranger` or `Unwanted`."""
    with db.transaction() as session:
        life.recognise(session, identity, message.udid)


_recorded: OrderedDict[tuple[bytes, str], float] = OrderedDict()
_recorded_lock = Lock()


def _record_refusal(identity: bytes, message: Authenticate, refusal: Stranger | Unwanted) -> None:
    """Put a refusal into the audit trail; the same one again only after a while, however often the tablet tries."""
    key = (identity, message.serial + refusal.detail)
    with _recorded_lock:
        before = _recorded.get(key)
        if before is not None and monotonic() - before < _RECORD_AGAIN_SECONDS:
            return
        _recorded[key] = monotonic()
        _recorded.move_to_end(key)
        while len(_recorded) > _REMEMBERED:
            _recorded.popitem(last=False)
    with db.transaction() as session:
        chain.record(
            session,
            f"tablet:{message.serial or 'unknown'}",
            "enrollment.refuse",
            f"certificate:{identity.hex()}",
            {"serial": message.serial, "reason": refusal.slug, "detail": refusal.detail},
        )
    _log.warning("tablet_refused", reason=refusal.slug, detail=refusal.detail)
