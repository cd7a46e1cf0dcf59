"""A wish that meets the tablet's own answer half-way is judged by what the tablet has become."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from mdm.db import engine

MESSAGE = {"message": "Please return to the school"}


def _until_it_waits_for_a_lock(connection: psycopg.Connection) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        waits = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone()
        if waits and waits[0]:
            return
        time.sleep(0.01)
    pytest.fail("nobody waits for a lock")


def test_a_tablet_that_turns_lost_meanwhile_can_be_located(district, sign_in, sql):
    """The tablet reports lost mode on while the wish to locate it stands in line: the wish is taken."""
    hana = sign_in("hana")
    tablet = district.tablets["a"]
    hana.ask(tablet, "lock", **MESSAGE)
    url = engine().url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as door, ThreadPoolExecutor(1) as pool:
        holder.execute("SELECT 1 FROM device WHERE id = %s FOR UPDATE", (tablet,))
        located = pool.submit(hana.ask, tablet, "locate")
        _until_it_waits_for_a_lock(door)
        with door.transaction():
            door.execute("UPDATE command SET state = 'done' WHERE kind = 'lost_mode_on'")
            door.execute("UPDATE enrollment SET lost_mode = true WHERE device_id = %s", (tablet,))
        holder.rollback()
        assert located.result(timeout=20).status_code == 202
