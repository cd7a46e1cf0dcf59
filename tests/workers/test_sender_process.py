"""The sender as a process of its own: quick to let go what is signed, deaf to whatever else a queue message says."""

import time

import pytest
from celery import Celery

from mdm.commands import transitions
from mdm.jobs import QUEUES, Job
from mdm.settings import get_settings
from tests.mdm_commands.conftest import district, sign_in, sql
from tests.workers.running import sending, until

__all__ = ["district", "sign_in", "sql"]
pytestmark = pytest.mark.usefixtures("valkey")


@pytest.fixture
def whisper():
    """Put a message into the sender's queue, as whoever holds Valkey's password can."""
    with Celery("stranger", broker=get_settings().redis_url, set_as_current=False) as stranger:
        stranger.conf.broker_transport_options = {"global_keyprefix": "tabane:"}

        def send(task: str, *words: object, **arguments: object) -> None:
            stranger.send_task(task, args=words, kwargs=arguments, queue=QUEUES[Job.LET_GO], ignore_result=True)

        yield send


def test_a_signed_wipe_leaves_within_a_second_and_no_message_makes_another_leave(district, sign_in, sql, whisper, log):
    """By the hint of the approval; messages of any name and with any words change nothing that is held."""
    hana, jiro = sign_in("hana"), sign_in("jiro")
    waiting = hana.wipe(district.tablets["b"])
    placed = hana.wipe(district.tablets["a"])
    with sending(log=log) as process:
        whisper(Job.LET_GO.value)
        until(lambda: sql(f"SELECT FROM pg_stat_activity WHERE application_name = 'tabane:{process.pid}'"))
        began = time.monotonic()
        assert jiro.approve(placed["approval_id"]).status_code == 200
        until(lambda: hana.state(placed["command"]["id"]) == "queued")
        took = time.monotonic() - began
        whisper(Job.LET_GO.value, waiting["approval_id"], approval_id=waiting["approval_id"], urgent=True)
        for name in ("dispatch", "sweep", "celery.chain", f"{transitions.__name__}.move"):
            whisper(name, waiting["approval_id"])
        later = hana.wipe(district.tablets["far"])
        assert jiro.approve(later["approval_id"]).status_code == 200
        until(lambda: hana.state(later["command"]["id"]) == "queued")
        assert hana.state(waiting["command"]["id"]) == "held"
    # An idle machine takes some hundredths; this one is shared, and an answer over the API is in it as well.
    assert took < 3, took


def test_the_sender_looks_without_a_broker(district, sign_in, sql, log, monkeypatch):
    """With Valkey away no hint arrives, and what is signed leaves all the same within seconds."""
    hana, jiro = sign_in("hana"), sign_in("jiro")
    placed = hana.wipe(district.tablets["a"])
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    with sending(log=log):
        assert jiro.approve(placed["approval_id"]).status_code == 200
        until(lambda: hana.state(placed["command"]["id"]) == "queued")
