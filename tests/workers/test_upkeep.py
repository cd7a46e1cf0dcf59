"""Upkeep: a round clears what is over, and one step that fails leaves the others alone."""

from sqlalchemy import text

from mdm.errors import Misconfigured
from mdm.jobs import Job
from workers import upkeep


def test_a_round_clears_old_tickets(session):
    """A ticket that ended long ago goes; a live one stays."""
    school = session.execute(text("INSERT INTO school (code, name) VALUES ('S', 'S') RETURNING id")).scalar_one()
    for secret, days in [(b"a", -100), (b"b", 1)]:
        session.execute(
            text(
                "INSERT INTO ticket (secret_hash, kind, platform, school_id, uses, expires_at)"
                " VALUES (:secret, 'staging', 'apple', :school, 1, now() + make_interval(days => :days))"
            ),
            {"secret": secret * 32, "school": school, "days": days},
        )
    session.commit()
    assert upkeep.upkeep()["tickets"] == 1
    assert upkeep.upkeep()["tickets"] == 0


def test_a_failing_step_leaves_the_others_alone(session, monkeypatch):
    """Without a push certificate no renewal profile can be made; the rest is done all the same."""

    def misconfigured(_session):
        raise Misconfigured("no push certificate")

    monkeypatch.setitem(upkeep.STEPS, "renewals", misconfigured)
    assert set(upkeep.upkeep()) == set(upkeep.STEPS) - {"renewals"}


def test_every_task_runs_on_an_empty_district(configure, session):
    """Each job of the ordinary workers can be hinted at any time, even when there is nothing at all."""
    from workers.app import app  # pytest would open a task at module level before there are settings

    for job in set(Job) - {Job.LET_GO}:  # the sender's own
        app.tasks[job.value]()
    app.tasks[Job.DISPATCH.value](lane=0)
    app.tasks[Job.RETARGET.value](device_ids=[1, 2])
