"""Whoever is on duty is told 60 days before something of a contractor's ends, once."""

from sqlalchemy import text

from mdm import db
from tests.mdm_organization.conftest import day
from workers import upkeep


def told():
    with db.engine().connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT what, details FROM notice ORDER BY id"))]


def test_what_ends_within_sixty_days_is_told_once(board):
    """Contract, certificate and handler, by ids and days alone; not what ends later, and nothing a second time."""
    near = board.organization("Invented Systems", certificate="Privacy Mark 00000000", certificate_until=day(30))
    far = board.organization("Invented Desk", certificate="Privacy Mark 00000001", certificate_until=day(61))
    board.contract(near, "loss_desk", until=60)
    board.contract(far, "loss_desk", until=61)
    gone = board.handler(near, "H-1", "loss_desk", valid_until=day(5))
    board.handler(near, "H-2", "loss_desk", valid_until=day(61))
    board.handler(near, "H-3", "loss_desk")
    assert upkeep.upkeep()["endings"] == 3
    assert upkeep.upkeep()["endings"] == 0
    [(what, details)] = told()
    assert what == "organization.ending"
    assert details == {
        f"handler {gone}": {"organization": near, "ends_on": day(5)},
        f"certificate {near}": {"organization": near, "ends_on": day(30)},
        f"contract {near}": {"organization": near, "ends_on": day(60)},
    }


def test_a_renewal_is_told_of_in_its_turn(board):
    """What was told is over with the renewal; the next end is another matter. What is renewed in time is none."""
    top = board.organization("Invented Systems")
    first = board.contract(top, "loss_desk", until=20)
    assert upkeep.upkeep()["endings"] == 1
    second = board.contract(top, "loss_desk", since=21, until=50, renews_id=first)
    assert upkeep.upkeep()["endings"] == 1
    board.contract(top, "loss_desk", since=51, until=400, renews_id=second)
    assert upkeep.upkeep()["endings"] == 0
    assert [next(iter(details.values()))["ends_on"] for _, details in told()] == [day(20), day(50)]


def test_what_has_ended_already_is_not_told(board):
    """Access that is over needs no warning."""
    top = board.organization("Invented Systems")
    board.contract(top, "loss_desk", since=-20, until=-1)
    board.handler(top, "H-1", "loss_desk", valid_from=day(-9), valid_until=day(-2))
    assert upkeep.upkeep()["endings"] == 0
    assert told() == []
