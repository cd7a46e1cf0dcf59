"""Guessing at sign-in is slowed down for all web processes together, whatever becomes of the requests."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from mdm import db
from mdm.operators import throttle
from mdm.operators.throttle import Throttle, TooManyAttempts
from tests.mdm_auth.people import PASSWORD
from workers import upkeep

HERE = "192.0.2.1"


def _rows():
    with db.engine().connect() as connection:
        return connection.execute(text("SELECT count(*) FROM sign_in_attempt")).scalar_one()


def _guess(throttled: Throttle, name: str = "hana", address: str = HERE) -> bool:
    try:
        throttled.attempt(name, address)
    except TooManyAttempts:
        return False
    return True


def test_another_process_counts_along(database):
    """Five guesses at two processes are five, and a new process has forgotten none."""
    code = (
        "from mdm.operators.signin import throttle\n"
        "from mdm.operators.throttle import TooManyAttempts\n"
        "try:\n    throttle.attempt('hana', '192.0.2.1')\nexcept TooManyAttempts:\n    print('refused')"
    )

    def elsewhere() -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=os.environ.copy(), capture_output=True, text=True, check=True).stdout.strip()

    from mdm.operators.signin import throttle as here

    assert [_guess(here) for _ in range(4)] == [True] * 4
    assert elsewhere() == ""
    assert elsewhere() == "refused"
    assert not _guess(here)


def test_a_burst_of_guesses_at_once_stays_within_the_limit(database):
    """Of forty at the same moment five are looked at."""
    throttled = Throttle("password")
    with ThreadPoolExecutor(8) as burst:
        assert sum(burst.map(lambda _: _guess(throttled), range(40))) == 5


@pytest.mark.parametrize(
    ("names", "addresses", "looked_at"), [(1, 1, 5), (40, 1, 30), (1, 60, 50)], ids=["both", "address", "name"]
)
def test_limits(database, names, addresses, looked_at):
    """By name and address, by address, and by name; who is neither goes on."""
    throttled = Throttle("password")
    tried = [
        _guess(throttled, f"name{number % names}", f"192.0.2.{number % addresses}")
        for number in range(max(names, addresses, 8))
    ]
    assert sum(tried) == looked_at
    assert _guess(throttled, "somebody", "198.51.100.1")
    assert _guess(Throttle("code"), "name0", "192.0.2.0")


def test_it_opens_again_after_its_window(database, hands):
    """It says how long to wait, and what counts no more is cleared away."""
    throttled = Throttle("password")
    for _ in range(5):
        throttled.attempt("hana", HERE)
        hands.move(seconds=60)
    with pytest.raises(TooManyAttempts) as refused:
        throttled.attempt("hana", HERE)
    assert refused.value.retry_after == 600
    hands.move(seconds=600)
    assert _guess(throttled)
    assert not _guess(throttled)
    hands.move(seconds=throttle.WINDOW_S)
    assert upkeep.upkeep()["sign_ins"] == 18
    assert _rows() == 0


def test_right_sign_ins_are_never_throttled(database):
    """Success after success does not count as guessing, and leaves nothing behind."""
    throttled = Throttle("password")
    for _ in range(60):
        throttled.attempt("hana", HERE)
        throttled.succeeded("hana", HERE)
    assert _rows() == 0


def test_success_takes_back_its_own_attempt_only(database):
    """Others' failures from the same address still count."""
    throttled = Throttle("password")
    for number in range(29):
        throttled.attempt(f"name{number}", HERE)
    throttled.attempt("hana", HERE)
    throttled.succeeded("hana", HERE)
    assert _guess(throttled, "somebody")
    assert not _guess(throttled, "else")


def test_a_refusal_that_is_rolled_back_counts(hana):
    """A wrong present password at a change of password ends in an error, and is a guess all the same."""
    body = {"current": "wrong", "password": PASSWORD + " anew"}
    assert [hana.ask("PUT", "/session/password", json=body).status_code for _ in range(6)] == [403] * 5 + [429]


def test_what_was_typed_is_not_kept(hana):
    """People type passwords where a name belongs."""
    hana.sign_in(password="wrong")
    with db.engine().connect() as connection:
        kept = connection.execute(text("SELECT string_agg(encode(key, 'escape'), '') FROM sign_in_attempt")).scalar()
    assert kept
    assert "hana" not in kept


def test_without_the_database_nobody_signs_in(database, monkeypatch):
    """There is no count, and nothing is let through uncounted."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    db.get_settings.cache_clear()
    with pytest.raises(OperationalError):
        Throttle("password").attempt("hana", HERE)
