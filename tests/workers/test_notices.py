"""Pages to whoever is on duty reach a receiver that checks them, whatever fails on the way."""

import pytest
from sqlalchemy import text
from sqlmodel import Session

from mdm import db
from mdm.safeguards import notices
from mdm.settings import get_settings
from simulator.clouds.pager import Pager
from tests.mailserver import MailServer
from tests.serving import serving
from workers import notices as sender

SECRET = b"an invented secret"


@pytest.fixture
def pager():
    """A pager that listens, with its address."""
    receiver = Pager(SECRET)
    with serving(receiver) as url:
        receiver.url = f"{url}/page"
        yield receiver


@pytest.fixture
def point_at(database, monkeypatch, tmp_path):
    """Set the settings of notices: `point_at(webhook_url=…)`."""
    (tmp_path / "secret").write_bytes(SECRET + b"\n")

    def point(**settings):
        for name, value in settings.items():
            monkeypatch.setenv(f"TABANE_NOTICES__{name.upper()}", value)
        get_settings.cache_clear()

    point(webhook_secret_file=str(tmp_path / "secret"))
    return point


def page(what="breaker.open"):
    with db.transaction() as session:
        notices.page(session, what, "Wipes are frozen", {"pattern": "by hand"})


def rows():
    with db.engine().begin() as connection:
        return connection.execute(
            text("SELECT attempts, webhook_at IS NOT NULL, mail_at IS NOT NULL, done_at IS NOT NULL, error FROM notice")
        ).all()


def later():
    with db.engine().begin() as connection:
        connection.execute(text("UPDATE notice SET next_at = now(), lease_until = now() - interval '1 second'"))


def test_a_page_arrives_signed_and_once(pager, point_at):
    """What was written with an act is what the receiver reads; nothing is sent a second time."""
    point_at(webhook_url=pager.url)
    page()
    assert sender.send_due() == {"sent": 1}
    assert sender.send_due() == {}
    [line] = pager.journal
    assert (line.status, line.signed) == (204, True)
    assert (line.document["what"], line.document["details"]) == ("breaker.open", {"pattern": "by hand"})
    assert rows() == [(1, True, False, True, "")]


def test_a_rolled_back_act_pages_nobody(pager, point_at):
    """The page is written in the transaction of what it tells of."""
    point_at(webhook_url=pager.url)
    with Session(db.engine()) as session:
        notices.page(session, "breaker.open", "Wipes are frozen")
        session.rollback()
    assert sender.send_due() == {}
    assert pager.journal == []


def test_what_fails_is_tried_again_later(pager, point_at):
    """A receiver that is down or busy costs time and no page; the wait grows."""
    point_at(webhook_url=pager.url)
    pager.failing = 2
    page()
    waits = []
    for _ in range(2):
        assert sender.send_due() == {"failed": 1}
        assert sender.send_due() == {}
        with db.engine().begin() as connection:
            wait = connection.execute(text("SELECT extract(epoch FROM next_at - now()) FROM notice"))
            waits.append(wait.scalar_one())
        later()
    assert 5 < waits[0] < waits[1]
    assert sender.send_due() == {"sent": 1}
    assert [line.status for line in pager.journal] == [503, 503, 204]
    assert len({line.id for line in pager.journal}) == 1


def test_a_worker_that_dies_loses_none(pager, point_at):
    """A lease that nobody settles runs out; the page goes again with the same id, and the late one changes nothing."""
    point_at(webhook_url=pager.url)
    page()
    with db.transaction() as session:
        [dropped] = notices.claim(session, (notices.Way.WEBHOOK,))
        assert notices.claim(session, (notices.Way.WEBHOOK,)) == []
    assert sender.send_due() == {}
    later()
    assert sender.send_due() == {"sent": 1}
    with db.transaction() as session:
        notices.settle(session, dropped, gone=[], error="late")
    assert rows() == [(2, True, False, True, "")]
    assert list(pager.received) == [str(dropped.id)]


def test_a_wrong_secret_is_seen_and_nothing_is_lost(pager, point_at, tmp_path):
    """The receiver refuses what is signed with another secret; with the right one it takes the page."""
    point_at(webhook_url=pager.url)
    (tmp_path / "secret").write_bytes(b"another")
    page()
    assert sender.send_due() == {"failed": 1}
    assert [(line.status, line.signed) for line in pager.journal] == [(401, False)]
    (tmp_path / "secret").write_bytes(SECRET)
    later()
    assert sender.send_due() == {"sent": 1}


def test_without_a_way_pages_wait(point_at):
    """Nobody is paged, and nothing counts as sent."""
    page()
    assert sender.send_due() == {}
    assert rows() == [(0, False, False, False, "")]


def test_by_mail_as_well_and_each_way_only_once(pager, point_at):
    """A page that went by mail and not yet by webhook goes on trying the webhook alone."""
    with MailServer() as mail:
        point_at(
            webhook_url=pager.url,
            smtp_host="127.0.0.1",
            smtp_port=str(mail.port),
            smtp_tls="none",
            mail_from="tabane@example.invalid",
            mail_to='["duty@example.invalid"]',
        )
        pager.failing = 1
        page()
        assert sender.send_due() == {"failed": 1}
        assert rows() == [(1, False, True, False, "webhook: HTTPStatusError")]
        later()
        assert sender.send_due() == {"sent": 1}
    assert rows()[0][1:4] == (True, True, True)
    assert len([line for line in mail.told if line.startswith("Subject: [Tabane] Wipes are frozen")]) == 1
    assert "pattern: by hand" in mail.told
