"""Works for carriers' accounts: takes a turn, asks page after page, says how the turn ended. Holds no rules of lines.

Whoever is killed here loses a lease of two minutes and no page; the cursor and the page's rows are one transaction.
"""

import random
import time
from collections import Counter
from datetime import timedelta
from functools import lru_cache
from typing import Final

import redis
import structlog
from sqlmodel import col, select

from mdm import clock, db
from mdm.cellular import polling
from mdm.cellular.carriers.connection import Connection
from mdm.cellular.carriers.opening import described, limits_of, opened
from mdm.cellular.carriers.switchboard import Carrier, carrier_of
from mdm.cellular.carriers.values import Busy, CarrierError, Denied, Refused
from mdm.cellular.models import CarrierAccount, CarrierKind
from mdm.cellular.polling import LeaseLost, Poll, Turn
from mdm.settings import get_settings
from workers import dispatch, line_acts, line_polls, throttle
from workers.carrier_pace import Pace

_log = structlog.get_logger(__name__)

BUDGET_S: Final = 20.0
"""A turn is given back after this, so that what is wanted of lines does not wait for a long list."""
_SHORT_WAIT_S: Final = 2.0
"""What is worth asking for again so soon is waited for, rather than asked for in another turn."""
_FIRST_WAIT_S: Final = 15.0
_LONGEST_WAIT_S: Final = 3600.0


@lru_cache(maxsize=1)
def valkey() -> redis.Redis:
    """The connections of this process to Valkey."""
    return throttle.connect(get_settings().redis_url)


def work(*, budget_s: float = BUDGET_S) -> Counter[str]:
    """Ask what is due of every account, one turn after the other; return pages by question, and how turns ended."""
    done: Counter[str] = Counter()
    until = time.monotonic() + budget_s
    prepare()
    line_acts.tidy()
    with db.transaction() as session:
        waiting = polling.waiting(session)
    for account_id in waiting:
        while time.monotonic() < until and not dispatch.stopping.is_set():
            if not _one_turn(account_id, until, done):
                break
    if done.total():
        _log.info("carriers_asked", counts=dict(done))
    return done


def prepare() -> None:
    """Note what each account's interface can do, and have a row for each question."""
    with db.transaction() as session:
        accounts = session.exec(select(CarrierAccount).where(CarrierAccount.enabled, CarrierAccount.kind != "csv"))
        for account in accounts.all():
            try:
                can = carrier_of(CarrierKind(account.kind)).capabilities()
            except Refused:  # not spoken yet
                continue
            plain = described(can)
            if account.capabilities != plain:
                account.capabilities = plain
                session.add(account)
            polling.prepare(session, account.id or 0, can)


def _one_turn(account_id: int, until: float, done: Counter[str]) -> bool:
    """Take the account's next turn, if there is one, and say whether there was."""
    with db.transaction() as session:
        account = session.exec(select(CarrierAccount).where(col(CarrierAccount.id) == account_id)).one()
        carrier = carrier_of(CarrierKind(account.kind))
        limits = limits_of(account, carrier.capabilities())
        turn = polling.claim(session, account_id, in_flight=limits.in_flight)
    if turn is None:
        return False
    pace = Pace(valkey(), account_id, limits)
    try:
        with opened(account, pace) as connection:
            if turn.poll is Poll.ACTS:
                line_acts.carry_out(carrier, connection, account, turn, until=until, done=done)
            else:
                _ask_round(carrier, connection, account, turn, until=until, done=done)
    except Busy as busy:
        done["busy"] += 1
        pace.pause(busy.retry_after_s)
        _give_back(turn, busy.retry_after_s * random.uniform(1.0, 1.1), "")  # noqa: S311 - spreads load
    except LeaseLost:
        done["lost"] += 1
    except Exception as error:  # noqa: BLE001 - one account's trouble must not hold up the others
        done["failed"] += 1
        _settle_failure(turn, error)
    return True


def _ask_round(
    carrier: Carrier, connection: Connection, account: CarrierAccount, turn: Turn, *, until: float, done: Counter[str]
) -> None:
    """Ask page after page, to the end of the round or of the time."""
    can = carrier.capabilities()
    ask = line_polls.question(turn, account, can.usage_keeps_days)
    while True:
        asked_at = clock.now()
        page = line_polls.fetch(carrier, connection, turn, ask)
        seen = int(turn.cursor.get("seen", 0)) + len(page.items)
        cursor = {"ask": dict(ask), "next": page.cursor and dict(page.cursor), "seen": seen}
        with db.transaction() as session:
            polling.save(session, turn, cursor)
            counted = line_polls.apply(session, account, turn, page, asked_at)
            over = page.cursor is None
            if over:
                polling.finish(session, turn, after=_spread(polling.every(turn.poll, can)))
        done[turn.poll.value] += 1
        _log.info("carrier_page", account=account.name, question=turn.poll.value, counts=dict(counted))
        if over:
            return
        turn = turn.at(cursor)
        wait = page.wait_s
        if wait <= _SHORT_WAIT_S and time.monotonic() + wait < until:
            dispatch.stopping.wait(wait)
            wait = 0.0
        if wait or time.monotonic() >= until or dispatch.stopping.is_set() or _something_urgent(account):
            _give_back(turn, wait, "")
            return


def _something_urgent(account: CarrierAccount) -> bool:
    with db.transaction() as session:
        return line_acts.is_due(session, account.id or 0)


def _settle_failure(turn: Turn, error: Exception) -> None:
    """Say how a turn failed. Who is not let in twice is stopped; the rest is tried again, later and later."""
    words = error.detail if isinstance(error, CarrierError) else f"something unexpected ({type(error).__name__})"
    _log.warning("carrier_failed", question=turn.poll.value, error=type(error).__name__, outcome=words)
    if isinstance(error, Denied) and turn.error == words:  # once may be a session that was ended early
        try:
            with db.transaction() as session:
                polling.stop(session, turn, words)
        except LeaseLost:
            pass
        return
    wait = min(_FIRST_WAIT_S * 2 ** min(turn.failures, 12), _LONGEST_WAIT_S)
    # A cursor that is refused has run out: the round begins again, and loses nothing by it.
    anew = isinstance(error, Refused) and bool(turn.cursor)
    _give_back(turn, wait * random.uniform(0.5, 1.5), words, anew=anew)  # noqa: S311 - spreads load


def _give_back(turn: Turn, seconds: float, error: str, *, anew: bool = False) -> None:
    try:
        with db.transaction() as session:
            polling.put_off(session, turn, seconds, error=error, anew=anew)
    except LeaseLost:
        pass


def _spread(interval: timedelta) -> timedelta:
    """Return an interval a little shorter or longer, so that accounts do not march in step."""
    return interval * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
