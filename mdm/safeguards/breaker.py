"""The breaker: how it stands, when it must open, who closes it. What it freezes is pulled back by `commands.freezing`.

Events are only added; the newest opening or thawing says how it stands. Whoever reads that to let something go must
stand in the audit trail's line (`chain.stand_in_line`), as whoever opens it does: then the two cannot cross.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm.audit import chain
from mdm.auth import Action, Principal
from mdm.auth.principal import SecondFactorRequired, StepUpRequired
from mdm.errors import Attempt, Conflict, Forbidden, Invalid, NotFound
from mdm.safeguards import notices, proven, seasoned, thresholds
from mdm.safeguards.approvals import Consent, SelfApproval, SubjectChanged
from mdm.safeguards.breaker_models import BreakerEvent, What
from mdm.safeguards.budgets import BudgetSpent
from mdm.safeguards.threshold_values import Name

BY_HAND: Final = "by hand"
_TURNS: Final = [What.OPENED.value, What.THAWED.value]


class Frozen(Conflict):
    """Class A is frozen for everybody."""

    slug = "frozen"


@dataclass(frozen=True, slots=True)
class Standing:
    """How the breaker stands; the rest tells of the last opening while it is open."""

    open: bool
    since: datetime | None = None
    by: str | None = None
    pattern: str | None = None
    thaw_asked_by: str | None = None
    thaw_asked_at: datetime | None = None
    thaw_request: Mapping[str, Any] | None = None
    """What the second person signs, in the words of a request for approval."""


def standing(session: Session) -> Standing:
    """Return how the breaker stands."""
    turn = _last_turn(session)
    if turn is None or turn.what == What.THAWED:
        return Standing(open=False)
    asked = _thaw_asked(session, turn)
    return Standing(
        open=True,
        since=turn.at,
        by=turn.actor,
        pattern=turn.detail,
        thaw_asked_by=asked.actor if asked else None,
        thaw_asked_at=asked.at if asked else None,
        thaw_request=_request(turn, asked) if asked and asked.at else None,
    )


def _request(opened: BreakerEvent, asked: BreakerEvent) -> dict[str, Any]:
    assert asked.at is not None
    return {
        "action": proven.THAW,
        "subject": proven.wish_to_thaw(opened, asked),
        "reason": "",
        "requested_by_id": asked.operator_id,
        "expires_at": asked.at + proven.LIFETIME,
    }


def frozen(session: Session) -> bool:
    """Say whether class A is frozen."""
    turn = _last_turn(session)
    return turn is not None and turn.what == What.OPENED


def must_be_closed(session: Session) -> None:
    """Raise `Frozen` while class A is frozen."""
    if frozen(session):
        raise Frozen("what cannot be undone is frozen for everybody; two administrators can thaw it")


def open_(session: Session, actor: Principal | str, pattern: str) -> bool:
    """Open the breaker and call whoever is on duty; False when it was open already.

    Alone this only stops what comes: use `commands.freezing.freeze`, which also pulls back what was let go.
    """
    chain.stand_in_line(session)
    if frozen(session):
        return False
    who = actor if isinstance(actor, str) else actor.actor
    _add(session, What.OPENED, actor if isinstance(actor, Principal) else None, who, pattern)
    chain.record(session, actor, "breaker.open", "breaker", {"pattern": pattern})
    details = {"pattern": pattern, "by": who}
    notices.page(session, "breaker.open", "Wipes are frozen; somebody must look before two thaw them", details)
    return True


def thaw(session: Session, principal: Principal, consent: Consent | None = None) -> Standing:
    """Ask for a thaw, or close the breaker as the second person, who signs the first one's wish within a day.

    Raises `Forbidden` for other than administrators of all schools, `YoungAccount`, `SelfApproval` when the same
    person asks twice, `Conflict` when nothing is frozen, `Invalid` without a signature that is needed, `NotPinned`,
    `NotProved`.
    """
    principal.must(Action.THAW)
    if not principal.scope.all_schools:
        raise Forbidden("safeguards are everybody's: this takes an administrator of all schools")
    seasoned.must_be(session, principal.id, thresholds.current(session), what="thaw")
    chain.stand_in_line(session)
    turn = _last_turn(session)
    if turn is None or turn.what == What.THAWED:
        raise Conflict("nothing is frozen")
    asked = _thaw_asked(session, turn)
    if asked is None:
        _add(session, What.THAW_ASKED, principal, principal.actor, "")
        chain.record(session, principal, "breaker.ask", "breaker")
        return standing(session)
    if asked.operator_id == principal.id:
        raise SelfApproval("a second administrator must thaw; you asked for this yourself")
    if consent is None:
        detail = "somebody has asked to thaw; sign that as the second administrator"
        raise Invalid(detail, errors=[{"pointer": "/signature", "detail": detail}])
    digest = proven.digest_to_thaw(turn, asked)
    proven.take(session, principal, digest, consent)
    _add(session, What.THAWED, principal, principal.actor, f"with {asked.actor}", signed=(asked, consent))
    details = {"asked_by": asked.actor, "digest": digest, "key": consent.key_id}
    chain.record(session, principal, proven.THAW, "breaker", details)
    notices.page(session, "breaker.thaw", "Wipes are thawed by two administrators", {"by": principal.actor})
    return standing(session)


@contextmanager
def counted(principal: Principal, what: str) -> Iterator[None]:
    """Have refusals of this person's try at class A counted by whoever answers them (`commands.freezing`)."""
    try:
        yield
    except (StepUpRequired, SecondFactorRequired):
        raise  # it is who they say: that is only asked for
    except (Forbidden, NotFound, SubjectChanged, BudgetSpent) as error:
        error.attempt = error.attempt or Attempt(principal.id, principal.actor, what)
        raise


def note_refusal(session: Session, attempt: Attempt) -> str | None:
    """Count a refused attempt at class A; return the pattern that opens the breaker, or None."""
    chain.stand_in_line(session)
    event = BreakerEvent(
        what=What.REFUSED.value,
        operator_id=attempt.operator_id,
        actor=attempt.actor[:80],
        detail=attempt.what[:200],
    )
    session.add(event)
    session.flush()
    chain.record(session, attempt.actor, "attempt.refuse", "class_a", {"what": attempt.what})
    if attempt.trips is not None:
        return attempt.trips
    refused = _count(session, "SELECT count(*) FROM breaker_event WHERE what = 'refused'", minutes=10)
    return "refused attempts" if refused > thresholds.current(session)[Name.BREAKER_REFUSED] else None


def watch_spending(session: Session, principal: Principal, *, what: str) -> None:
    """Raise `Frozen` when what was spent of class A, this included, looks like an attack; that opens the breaker.

    Call it in the transaction that spends, after `budgets.spend`: refusing gives back what was spent.
    """
    held = thresholds.current(session)
    spent = "SELECT count({}) FROM budget_entry WHERE pot = 'a'"
    patterns = (
        ("wipes in an hour", _count(session, spent.format("*"), minutes=60) > held[Name.BREAKER_WIPES_HOUR]),
        (
            "wipes in several schools",
            _count(session, spent.format("DISTINCT school_id"), minutes=15) >= held[Name.BREAKER_SCHOOLS],
        ),
    )
    for pattern, seen in patterns:
        if seen:
            error = Frozen(f"this looks like an attack ({pattern}): what cannot be undone is frozen for everybody now")
            error.attempt = Attempt(principal.id, principal.actor, what, trips=pattern)
            raise error


def _count(session: Session, select_count: str, *, minutes: int) -> int:
    """Count rows of the last minutes, and none from before the last thaw: two persons have looked at those."""
    statement = (
        f"{select_count} AND at > greatest(statement_timestamp() - make_interval(mins => :minutes),"
        " (SELECT max(b.at) FROM breaker_event b WHERE b.what = 'thawed'))"
    )
    return int(session.execute(text(statement), {"minutes": minutes}).scalar_one())


def _last_turn(session: Session) -> BreakerEvent | None:
    """Return the newest opening or thaw; a thaw that nobody signed is none."""
    turns = select(BreakerEvent).order_by(col(BreakerEvent.id).desc()).limit(1)
    newest = session.exec(turns.where(col(BreakerEvent.what).in_(_TURNS))).first()
    if newest is not None and newest.what == What.THAWED and proven.frozen(session):
        return session.exec(turns.where(BreakerEvent.what == What.OPENED.value)).first()
    return newest


def _thaw_asked(session: Session, turn: BreakerEvent) -> BreakerEvent | None:
    """Return the live request to thaw since the breaker opened."""
    statement = select(BreakerEvent).where(
        BreakerEvent.what == What.THAW_ASKED.value,
        col(BreakerEvent.id) > turn.id,
        text("at > statement_timestamp() - make_interval(secs => :lifetime)").bindparams(
            lifetime=proven.LIFETIME.total_seconds()
        ),
    )
    return session.exec(statement.order_by(col(BreakerEvent.id).desc()).limit(1)).first()


def _add(
    session: Session,
    what: What,
    principal: Principal | None,
    actor: str,
    detail: str,
    *,
    signed: tuple[BreakerEvent, Consent] | None = None,
) -> None:
    event = BreakerEvent(
        what=what.value, operator_id=principal.id if principal else None, actor=actor[:80], detail=detail[:200]
    )
    if signed is not None:
        asked, consent = signed
        event.asked_id, event.key_id, event.signature = asked.id, consent.key_id, consent.signature.stored()
    session.add(event)
    session.flush()
