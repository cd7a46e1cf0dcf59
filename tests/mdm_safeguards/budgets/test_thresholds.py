"""Thresholds through the API and the command line: one person tightens, two loosen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from mdm.auth import Role
from mdm.safeguards import thresholds
from mdm.safeguards.threshold_values import FACTS, Looser, Name, loosens, tighter
from tests.mdm_safeguards.budgets.people import slug

PATH = "/safeguards/thresholds"
ASKED = "/safeguards/threshold-requests"


def put(person, name, value, reason="because"):
    return person.put(f"{PATH}/{name}", {"value": value, "reason": reason})


def value(person, name):
    return {line["name"]: line["value"] for line in person.get(PATH).json()}[name]


def test_first_values_are_those_of_the_reference(session):
    """Before anybody sets one, the thresholds are what the safeguards' reference says."""
    held = {name.value: number for name, number in thresholds.current(session).items()}
    assert [held[f"a.{part}"] for part in ("operator.hour", "operator.day", "school.hour")] == [3, 10, 3]
    assert [held[f"a.fleet.{span}"] for span in ("hour", "day")] == [10, 25]
    assert [held["b.operator.hour"], held["b.fleet.hour"]] == [30, 100]
    assert [held["hold.minutes"], held["hold.lost_hours"], held["approvals.persons"]] == [10, 24, 2]
    assert [held["young.days"], held["elevated.hours"]] == [7, 72]
    assert [held[f"breaker.{what}"] for what in ("wipes.hour", "refused", "schools")] == [10, 3, 3]
    assert [held[f"campaign.wave.{n}"] for n in (1, 2, 3)] == [10, 100, 500]
    assert [held["campaign.stocktake_days"], held["campaign.cooling_hours"]] == [30, 24]
    assert [held["step_up.a_minutes"], held["step_up.b_minutes"]] == [5, 15]
    assert set(FACTS) == set(Name)


@given(st.sampled_from(list(Name)), st.integers(0, 500), st.integers(0, 500))
def test_of_two_values_one_way_loosens(name, one, other):
    """Between two different values exactly one way loosens, and the tighter one is never the looser."""
    assert loosens(name, one, other) + loosens(name, other, one) == (one != other)
    least = tighter(name, one, other)
    assert not loosens(name, one, least)
    assert not loosens(name, other, least)
    assert least in (one, other)


def test_one_tightens_two_loosen(sign_in):
    """For every threshold: tightening holds at once, loosening only when another administrator has agreed."""
    boss, chief = sign_in("boss"), sign_in("chief")
    for name in Name:
        tighten_and_loosen(boss, chief, name)


def tighten_and_loosen(boss, chief, name):
    fact = FACTS[name]
    step = -1 if fact.looser is Looser.HIGHER else 1
    tight = fact.first + step
    tighter_than_bounds = not fact.least <= tight <= fact.most
    if tighter_than_bounds:
        assert put(boss, name.value, tight).status_code == 422
    else:
        answer = put(boss, name.value, tight).json()
        assert (answer["threshold"]["value"], answer["request"]) == (tight, None)
    before = value(boss, name.value)
    asked = put(boss, name.value, before - step).json()
    assert (asked["threshold"]["value"], asked["request"]["state"]) == (before, "pending")
    assert slug(boss.agree(asked["request"])) == "self-approval"
    assert value(boss, name.value) == before
    done = chief.agree(asked["request"]).json()
    assert (done["state"], done["requested_by"], done["decided_by"]) == ("approved", "boss", "chief")
    assert value(boss, name.value) == before - step
    newest = boss.get(f"{PATH}/{name.value}/history").json()["items"][0]
    assert (newest["set_by"], newest["approved_by"]) == ("operator:boss", "operator:chief")


def test_who_may(sign_in):
    """Administrators of all schools; a token tightens but neither asks to loosen nor agrees."""
    boss, robot = sign_in("boss"), sign_in("robot", token=True)
    refused = [sign_in("hana", Role.SUPPORT), sign_in("mieko", Role.VIEWER), sign_in("jiro", school="E1")]
    for person in refused:
        assert put(person, "a.fleet.hour", 1).status_code == 403
    assert put(robot, "a.fleet.hour", 9).status_code == 200
    assert put(robot, "a.fleet.hour", 10).status_code == 403
    asked = put(boss, "a.fleet.hour", 10).json()["request"]
    for person in (*refused, robot):
        assert person.agree(asked).status_code == 403
    assert value(boss, "a.fleet.hour") == 9


def test_a_request_is_for_what_held_then(sign_in, sql):
    """Decided, run out, overtaken by another setting, or asked for by a disabled account: nothing is loosened."""
    boss, chief = sign_in("boss"), sign_in("chief")

    def ask(number=20):
        return put(boss, "a.fleet.hour", number).json()["request"]

    overtaken = ask()
    put(chief, "a.fleet.hour", 5)
    assert chief.agree(overtaken).status_code == 409
    withdrawn, refused, late, orphan = ask(), ask(), ask(), ask()
    assert boss.post(f"{ASKED}/{withdrawn['id']}/reject").json()["state"] == "withdrawn"
    assert chief.post(f"{ASKED}/{refused['id']}/reject").json()["state"] == "rejected"
    sql(f"UPDATE threshold_request SET expires_at = now() WHERE id = '{late['id']}'")
    sql("UPDATE operator SET disabled_at = now() WHERE name = 'boss'")
    for asked in (withdrawn, refused, late, orphan):
        assert chief.agree(asked).status_code == 409
    assert chief.agree(orphan | {"id": "01890a5d-ac96-774b-bcce-b302099a8057"}).status_code == 404
    assert value(chief, "a.fleet.hour") == 5


def test_a_fresh_account_loosens_nothing(sign_in, sql):
    """Whoever makes an account, or takes one over, is still one person for a while."""
    boss = sign_in("boss")
    chief = sign_in("chief")
    asked = put(boss, "b.fleet.hour", 200).json()["request"]
    sql("UPDATE operator SET created_at = now() - interval '6 days' WHERE name = 'chief'")
    assert slug(chief.agree(asked)) == "young-account"
    sql("UPDATE operator SET created_at = now() - interval '8 days', elevated_at = now() WHERE name = 'chief'")
    assert slug(chief.agree(asked)) == "young-account"
    sql("UPDATE operator SET elevated_at = now() - interval '73 hours' WHERE name = 'chief'")
    assert chief.agree(asked).status_code == 200


def test_giving_an_account_more_makes_it_fresh(sign_in, sql):
    """A right, a school, a password or its way back in from somebody else; less, or one's own password, does not."""
    boss = sign_in("boss")
    hana = sign_in("hana", Role.SUPPORT, school="E1")

    def elevated(change, path=f"/operators/{hana.id}"):
        sql("UPDATE operator SET elevated_at = NULL")
        answer = boss.client.request("PUT" if path.endswith("password") else "PATCH", f"/api/v1{path}", json=change)
        assert answer.status_code in (200, 204), answer.text
        return sql("SELECT elevated_at IS NOT NULL FROM operator WHERE name = 'hana'") == [(True,)]

    assert elevated({"role": "administrator"})
    assert not elevated({"role": "support"})
    assert elevated({"schools": ["E1", "E2"]})
    assert not elevated({"schools": ["E2"]})
    assert not elevated({"disabled": True})
    assert elevated({"disabled": False})
    assert elevated({"password": "a long enough secret 12"}, f"/operators/{hana.id}/password")


def test_settings_are_on_record_and_cannot_be_undone_in_sql(sign_in, session):
    """The trail says what it was and became; the table takes additions only, and no second person who is the first."""
    boss = sign_in("boss")
    put(boss, "hold.minutes", 30)
    put(boss, "hold.minutes", 20)
    acts = session.connection().exec_driver_sql("SELECT action, details FROM audit_event ORDER BY id").all()
    assert [action for action, _ in acts] == ["safeguard.tighten", "safeguard.ask"]
    assert acts[0][1] == {"value": 30, "before": 10}
    for change in (
        "UPDATE safeguard_threshold SET value = 0",
        "DELETE FROM safeguard_threshold",
        "TRUNCATE safeguard_threshold",
        "UPDATE threshold_request SET state = 'approved', decided_by = requested_by",
    ):
        with pytest.raises(DBAPIError, match=r"append-only|two_persons"):
            session.connection().exec_driver_sql(change)
        session.rollback()


@pytest.mark.parametrize(
    ("name", "body", "pointer"),
    [
        ("a.fleet.hour", {"value": -1}, "/value"),
        ("a.fleet.hour", {"value": 501, "reason": "x"}, "/value"),
        ("approvals.persons", {"value": 1, "reason": "x"}, "/value"),
        ("a.fleet.hour", {"value": 20}, "/reason"),
        ("a.fleet.hour", {"value": 9, "colour": "red"}, "/colour"),
        ("a.fleet.minute", {"value": 9}, "?name"),
    ],
)
def test_bad_requests_name_the_field(sign_in, name, body, pointer):
    """Whatever is wrong with a request, the answer says where, and nothing is stored."""
    boss = sign_in("boss")
    answer = boss.put(f"{PATH}/{name}", body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert boss.get(ASKED).json()["items"] == []
