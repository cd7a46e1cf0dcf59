"""Budgets: what one operator, one school and all together may do in an hour and a day, whatever the way in."""

import threading

import pytest
from sqlalchemy.exc import DBAPIError

from mdm import db
from mdm.auth import Principal, Role, Scope
from mdm.auth.rights import RIGHTS, Safety
from mdm.commands import queue
from mdm.commands.kinds import FACTS, Kind, safety_of
from mdm.safeguards import budgets
from mdm.safeguards.budgets import BudgetSpent, Pot
from tests.mdm_safeguards.budgets.people import slug


def entries(sql, pot):
    return sql(f"SELECT count(*) FROM budget_entry WHERE pot = '{pot}'")[0][0]


def test_one_operator_asks_for_three_wipes_an_hour(sign_in, tablets, sql):
    """The fourth is refused with the time to wait, leaves nothing behind, and an hour later there is room again."""
    hana = sign_in("hana", Role.SUPPORT)
    wanted = [tablets["E1"][0], tablets["E1"][1], tablets["E2"][0]]
    assert [hana.wipe(device).status_code for device in wanted] == [202] * 3
    refused = hana.wipe(tablets["E2"][1])
    assert (refused.status_code, slug(refused)) == (429, "budget-spent")
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert entries(sql, "a") == 3
    assert sql("SELECT count(*) FROM command") == [(3,)]
    assert sql("SELECT count(*) FROM approval") == [(3,)]
    assert hana.wipe(wanted[0]).status_code == 202, "the same wish again costs nothing"
    assert entries(sql, "a") == 3


@pytest.mark.parametrize(
    ("limit", "codes"), [("a.operator.day", ["E1"]), ("a.school.hour", ["E1"]), ("a.fleet.day", ["E1", "E2"])]
)
def test_every_limit_of_class_a_holds(sign_in, tablets, loosen, limit, codes):
    """Whichever limit is the tightest, it stops the next one; entries that are too old do not count."""
    for name in ("a.operator.hour", "a.operator.day", "a.school.hour", "a.fleet.hour", "a.fleet.day"):
        loosen(name, 2 if name == limit else 100)
    hana = sign_in("hana", Role.SUPPORT)
    asked = [hana.wipe(tablets[codes[n % len(codes)]][n]).status_code for n in range(3)]
    assert asked == [202, 202, 429]
    loosen(limit, 3)
    assert hana.wipe(tablets["E1"][5]).status_code == 202


def test_a_bulk_of_class_b_is_all_or_nothing(sign_in, tablets, sql):
    """Thirty tablets an hour for one operator, a hundred for all: what does not fit whole is not begun."""
    people = [sign_in(name, Role.SUPPORT) for name in ("hana", "jiro", "mieko", "ken")]
    everything = [device for school in tablets.values() for device in school]
    refused = people[0].ask("lock", *everything[:31], message="x")
    assert (refused.status_code, slug(refused)) == (429, "budget-spent")
    assert entries(sql, "b") == 0
    assert people[0].ask("lock", *everything[:30], message="x").status_code == 202
    assert people[0].ask("restart", everything[40]).status_code == 429
    assert people[0].ask("inventory_device", everything[40]).status_code == 202, "class C is free"
    assert people[1].ask("restart", *everything[:30]).status_code == 202
    assert people[2].ask("restart", *everything[30:60]).status_code == 202
    assert people[3].ask("lock", *everything[30:41], message="x").status_code == 429
    assert people[3].ask("lock", *everything[30:40], message="x").status_code == 202
    assert entries(sql, "b") == 100


def test_two_at_once_cannot_both_take_the_last(sign_in, tablets, loosen):
    """Ten requests for ten tablets in the same moment, room for four: four are placed."""
    loosen("a.operator.hour", 4)
    loosen("a.school.hour", 100)
    hana = sign_in("hana", Role.SUPPORT)
    who = Principal(hana.id, "hana", Role.SUPPORT, Scope(all_schools=True))
    start, answers = threading.Barrier(10), []

    def ask(device):
        start.wait(20)
        try:
            with db.transaction() as session:
                queue.enqueue(session, who, [device], Kind.WIPE, {}, reason="because")
            answers.append("placed")
        except BudgetSpent:
            answers.append("spent")

    threads = [threading.Thread(target=ask, args=(device,)) for device in tablets["E1"][:10]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == ["placed"] * 4 + ["spent"] * 6


def test_whoever_approves_spends_as_well(session, sign_in, tablets):
    """Asking and approving count together: one colluding person is in three wipes an hour, whichever side they take."""
    hana = sign_in("hana", Role.SUPPORT)
    who = Principal(hana.id, "hana", Role.SUPPORT, Scope(all_schools=True))
    assert hana.wipe(tablets["E1"][0]).status_code == 202
    budgets.spend_approval(session, who, what="command.wipe")
    budgets.spend_approval(session, who, what="command.wipe")
    with pytest.raises(BudgetSpent, match=r"a\.operator\.hour"):
        budgets.spend_approval(session, who, what="command.wipe")
    session.commit()
    assert slug(hana.wipe(tablets["E1"][1])) == "budget-spent"


def test_changes_are_paid_for_once_per_act(sign_in, loosen, sql):
    """A limit or an account is one unit each, before it begins; reading is free."""
    boss = sign_in("boss")
    loosen("acts.operator.hour", 2)
    loosen("accounts.operator.hour", 0)
    for _ in range(2):
        assert boss.put("/limits/fleet", {"value": {"per_s": 5, "burst": 5}}).status_code == 200
    refused = boss.put("/limits/fleet", {"value": {"per_s": 5, "burst": 5}})
    assert (refused.status_code, slug(refused)) == (429, "budget-spent")
    assert sql("SELECT what, count(*) FROM budget_entry GROUP BY what") == [("limits.set", 2)]
    account = {"name": "more", "password": "a long enough secret 12", "role": "viewer", "all_schools": True}
    assert slug(boss.post("/operators", account)) == "budget-spent"
    assert boss.get("/limits").status_code == 200


class Gone:
    """A class A command on its way out."""

    kind = "wipe"

    def __init__(self, number, device_id, created_by):
        self.id = f"01890a5d-ac96-774b-bcce-{number:012}"
        self.device_id = device_id
        self.created_by = created_by


def test_the_sender_believes_neither_entries_nor_names(session, tablets):
    """Without any entry of a request, and whoever is named as requester: one signer lets three go in an hour."""

    def leave(number, **signed):
        device = list(tablets.values())[number % 4][number // 4]
        budgets.recheck(session, Gone(number, device, created_by=100 + number), **signed)

    for number in (0, 1, 2, 0):
        leave(number, signers=[7])
    with pytest.raises(BudgetSpent, match=r"a\.operator\.hour"):
        leave(3, signers=[7])
    for number in range(4, 11):
        leave(number, signers=[50 + number])
    with pytest.raises(BudgetSpent, match=r"a\.fleet\.hour"):
        leave(11, signers=[11])
    leave(12, campaign_id=Gone(1, 0, 0).id)
    assert session.connection().exec_driver_sql("SELECT count(*) FROM class_a_release").scalar_one() == 11


def test_entries_are_additions_only(session, tablets):
    """Nobody gets budget back by deleting or re-dating what was spent."""
    budgets.spend(session, "job:test", Safety.B, tablets["E1"][:2], what="lock")
    budgets.recheck(session, Gone(1, tablets["E1"][0], created_by=1))
    session.commit()
    for table in ("budget_entry", "class_a_release"):
        for change in (f"DELETE FROM {table}", f"UPDATE {table} SET at = 'epoch'", f"TRUNCATE {table}"):
            with pytest.raises(DBAPIError, match="append-only"):
                session.connection().exec_driver_sql(change)
            session.rollback()


def test_every_kind_and_every_action_has_a_class():
    """A kind has its facts and an action its row; what nobody knows is class A, and what is not benign is paid for."""
    assert set(FACTS) == set(Kind)
    assert safety_of("raw") is safety_of("anything.new") is Safety.A
    paid = {action: budgets.pot_of(action, right.safety) for action, right in RIGHTS.items()}
    assert {paid[action] for action, right in RIGHTS.items() if right.safety is Safety.C} == {None}
    free = {action for action, right in RIGHTS.items() if right.safety is not Safety.C and paid[action] is None}
    assert free == budgets.PAID_ELSEWHERE
    assert Pot.ACCOUNTS in paid.values()
