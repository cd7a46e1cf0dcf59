"""The breaker: what opens it, what it freezes, and that only two can close it."""

import pytest
from sqlalchemy.exc import DBAPIError

from mdm import db
from mdm.auth import Role
from mdm.commands import freezing
from mdm.commands.models import CommandState
from mdm.safeguards import breaker
from tests.mdm_safeguards.budgets.people import slug


def standing(person):
    return person.get("/safeguards/breaker").json()


@pytest.fixture
def boss(sign_in):
    return sign_in("boss")


@pytest.fixture
def hana(sign_in):
    return sign_in("hana", Role.SUPPORT)


def test_the_red_button_freezes_and_two_thaw(boss, hana, sign_in, tablets, sql):
    """Any administrator freezes alone; nothing of class A is asked for while locks go on; two thaw."""
    local, chief, robot = sign_in("local", school="E1"), sign_in("chief"), sign_in("robot", token=True)
    assert standing(hana)["open"] is False
    assert hana.post("/safeguards/freeze").status_code == 403
    pressed = local.post("/safeguards/freeze").json()
    assert (pressed["open"], pressed["pattern"], pressed["by"]) == (True, "by hand", "operator:local")
    assert boss.post("/safeguards/freeze").json()["by"] == "operator:local"
    refused = hana.wipe(tablets["E1"][0])
    assert (refused.status_code, slug(refused)) == (409, "frozen")
    assert hana.ask("lock", tablets["E1"][0], message="x").status_code == 202
    assert local.post("/safeguards/thaw").status_code == 403
    assert robot.post("/safeguards/thaw").status_code == 403
    assert boss.thaw().json()["thaw_asked_by"] == "operator:boss"
    assert slug(boss.thaw()) == "self-approval"
    assert standing(hana)["open"] is True
    assert chief.thaw().json()["open"] is False
    assert hana.wipe(tablets["E1"][0]).status_code == 202
    assert boss.thaw().status_code == 409
    told = [row[0] for row in sql("SELECT what FROM notice ORDER BY id")]
    assert told == ["breaker.open", "breaker.thaw"]


def test_a_request_to_thaw_ends_with_the_day_and_with_the_next_opening(boss, sign_in, sql):
    """Yesterday's wish to thaw is nobody's first half of today's, nor is one from before it opened again."""
    chief, third = sign_in("chief"), sign_in("third")
    boss.post("/safeguards/freeze")
    sql(
        "INSERT INTO breaker_event (at, what, operator_id, actor, detail) SELECT now() - interval '25 hours',"
        " 'thaw_asked', id, 'operator:third', '' FROM operator WHERE name = 'third'"
    )
    assert chief.thaw().json()["open"] is True
    assert third.thaw().json()["open"] is False
    boss.post("/safeguards/freeze")
    assert third.thaw().json()["open"] is True


def test_a_fresh_account_does_not_thaw(boss, sign_in, sql):
    """An account that was made or given more lately cannot be the second person."""
    chief = sign_in("chief")
    boss.post("/safeguards/freeze")
    boss.thaw()
    sql("UPDATE operator SET elevated_at = now() WHERE name = 'chief'")
    assert slug(chief.thaw()) == "young-account"
    assert standing(boss)["open"] is True


def test_four_refused_attempts_open_it_although_each_was_rolled_back(boss, hana, sign_in, tablets, sql):
    """Whoever tries what is refused is counted in a transaction that stays; after a thaw counting begins anew."""
    jiro = sign_in("jiro", Role.SUPPORT)
    for number in range(3):
        assert hana.ask("wipe", *tablets["E1"][:2]).status_code == 403
        assert standing(boss)["open"] is False, number
    assert jiro.ask("wipe", *tablets["E1"][:2]).status_code == 403
    assert (standing(boss)["open"], standing(boss)["pattern"]) == (True, "refused attempts")
    assert sql("SELECT actor FROM breaker_event WHERE what = 'refused' ORDER BY id") == [
        *[("operator:hana",)] * 3,
        ("operator:jiro",),
    ]
    boss.thaw()
    sign_in("chief").thaw()
    assert hana.ask("wipe", *tablets["E1"][:2]).status_code == 403
    assert standing(boss)["open"] is False


@pytest.mark.parametrize("attempt", ["spent", "unknown tablet", "own approval", "rejected"])
def test_what_counts_as_refused(boss, hana, sign_in, tablets, loosen, sql, attempt):
    """A spent budget, a tablet out of reach, one's own approval, and a second person's no."""
    loosen("breaker.refused", 0)
    if attempt == "spent":
        loosen("a.operator.hour", 0)
        assert slug(hana.wipe(tablets["E1"][0])) == "budget-spent"
    elif attempt == "unknown tablet":
        far = sign_in("far", Role.SUPPORT, school="E2")
        assert far.wipe(tablets["E1"][0]).status_code == 404
    else:
        approval = hana.wipe(tablets["E1"][0]).json()["approval_id"]
        path = f"/approvals/{approval}/{'approve' if attempt == 'own approval' else 'reject'}"
        person = hana if attempt == "own approval" else sign_in("jiro", Role.SUPPORT)
        person.post(path, {"key": 1, "signature": "AA"})
    assert standing(boss)["pattern"] == "refused attempts"


@pytest.mark.parametrize(
    "change",
    ["created_at = now() - interval '6 days'", "elevated_at = now() - interval '71 hours'"],
)
def test_a_fresh_account_that_asks_opens_it(boss, hana, tablets, sql, change):
    """One attempt is enough, and nothing of it is on its way."""
    sql(f"UPDATE operator SET {change} WHERE name = 'hana'")
    refused = hana.wipe(tablets["E1"][0])
    assert (refused.status_code, slug(refused)) == (403, "young-account")
    assert standing(boss)["pattern"] == "young account"
    assert sql("SELECT count(*) FROM command") == [(0,)]


def test_an_account_made_on_the_host_is_never_too_young(hana, tablets, sql):
    """The house must be founded by somebody."""
    sql("UPDATE operator SET created_at = now(), made_on_host = true WHERE name = 'hana'")
    assert hana.wipe(tablets["E1"][0]).status_code == 202


def test_wipes_in_three_schools_open_it(boss, hana, sign_in, tablets):
    """The wish for the third school within a quarter of an hour is refused and freezes all, whoever asks."""
    jiro = sign_in("jiro", Role.SUPPORT)
    assert hana.wipe(tablets["E1"][0]).status_code == 202
    assert jiro.wipe(tablets["E2"][0]).status_code == 202
    assert jiro.wipe(tablets["E1"][1]).status_code == 202
    assert slug(jiro.wipe(tablets["E3"][0])) == "frozen"
    assert standing(boss)["pattern"] == "wipes in several schools"


def test_more_wipes_than_ten_an_hour_open_it(boss, hana, tablets, loosen):
    """Even where the budgets were raised."""
    for name in ("a.operator.hour", "a.operator.day", "a.school.hour", "a.fleet.hour", "a.fleet.day"):
        loosen(name, 100)
    answers = [hana.wipe(device).status_code for device in tablets["E1"][:11]]
    assert answers == [202] * 10 + [409]
    assert standing(boss)["pattern"] == "wipes in an hour"


def test_what_is_on_its_way_is_pulled_back(boss, hana, sign_in, tablets, sql):
    """Approved, queued and put off: held again, so the door hands none of it out; delivered stays; locks go on."""
    devices = tablets["E1"][:3] + tablets["E2"][:1]
    wiped = [hana.wipe(device) for device in devices[:3]] + [sign_in("jiro", Role.SUPPORT).wipe(devices[3])]
    ids = [answer.json()["command"]["id"] for answer in wiped]
    hana.ask("lock", devices[0], message="x")
    states = [CommandState.QUEUED, CommandState.NOT_NOW, CommandState.DELIVERED, CommandState.HELD]
    with db.engine().begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # past the guards of class A
        for command_id, state in zip(ids, states, strict=True):
            connection.exec_driver_sql("UPDATE command SET state = %s WHERE id = %s", (state.value, command_id))
    boss.post("/safeguards/freeze")
    after = dict(sql("SELECT id::text, state FROM command WHERE kind = 'wipe'"))
    assert [after[command_id] for command_id in ids] == ["held", "held", "delivered", "held"]
    assert sql("SELECT state FROM command WHERE kind <> 'wipe'") == [("queued",)]


def test_events_are_additions_only(session, boss):
    """Nobody thaws by taking the opening back."""
    boss.post("/safeguards/freeze")
    for change in ("DELETE FROM breaker_event", "UPDATE breaker_event SET what = 'thawed'", "TRUNCATE breaker_event"):
        with pytest.raises(DBAPIError, match="append-only"):
            session.connection().exec_driver_sql(change)
        session.rollback()
    assert breaker.frozen(session)
    assert not freezing.freeze(session, "job:test", "again")
