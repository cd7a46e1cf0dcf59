"""The sender is not fooled by rows: what is looser, and a thaw, count for it only where a second person signed them."""

import json

import psycopg
import pytest

from mdm import clock, db
from mdm.auditor import evidence
from mdm.auth import Role
from mdm.safeguards import proven
from mdm.safeguards.threshold_values import FACTS, Looser, Name
from tests.mdm_safeguards.budgets.people import slug

NOISE = json.dumps({"signature": "AAAA"})


@pytest.fixture
def boss(sign_in):
    return sign_in("boss")


@pytest.fixture
def chief(sign_in):
    return sign_in("chief")


@pytest.fixture
def as_web(database):
    """Run SQL as a thief with the web process's role would; the database's refusal is returned, or None."""

    def run(statement):
        with psycopg.connect(database, options="-c role=tabane_web") as connection:
            try:
                connection.execute(statement)
            except psycopg.Error as error:
                return str(error).splitlines()[0]
        return None

    return run


def held(name="a.fleet.hour"):
    with db.transaction() as session:
        return proven.current(session)[Name(name)]


def frozen():
    with db.transaction() as session:
        return proven.frozen(session)


def ask(person, value, name="a.fleet.hour"):
    answer = person.put(f"/safeguards/thresholds/{name}", {"value": value, "reason": "because"})
    return answer.json()["request"]


def forge(as_web, asked, *, signature=NOISE, by="chief"):
    """Decide a request and set the threshold past the application, with a key that is pinned."""
    told = as_web(
        f"UPDATE threshold_request SET state = 'approved', signature = '{signature}', key_id = k.id,"
        f" decided_by = k.operator_id FROM approver_key k JOIN operator o ON o.id = k.operator_id WHERE o.name = '{by}'"
        f" AND threshold_request.id = '{asked['id']}'"
    )
    return told or as_web(
        "INSERT INTO safeguard_threshold (name, value, set_by, approved_by, request_id, reason)"
        f" VALUES ('{asked['name']}', {asked['value']}, 'operator:boss', 'operator:{by}', '{asked['id']}', '')"
    )


@pytest.mark.parametrize("name", list(Name))
def test_the_database_takes_no_looser_row_and_every_tighter_one(as_web, name):
    """It knows each threshold's first value and which way is looser, as the code does."""
    fact = FACTS[name]
    step = 1 if fact.looser is Looser.HIGHER else -1
    row = "INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('{}', {}, 'host', '')"
    refused = as_web(row.format(name.value, fact.first + step))
    assert "needs the signature" in refused
    assert as_web(row.format(name.value, fact.first)) is None
    assert as_web(row.format(name.value, fact.first - step)) is None
    assert "needs the signature" in as_web(row.format(name.value, fact.first))


def test_a_threshold_that_the_database_does_not_know_takes_a_signature(as_web):
    """A newer version's threshold fails closed until a migration has told of it."""
    row = "INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('new.one', 1, 'host', '')"
    assert "needs the signature" in as_web(row)


def test_what_two_have_signed_holds_also_when_the_key_is_revoked_later(boss, chief):
    """The sender takes the looser value, and keeps to it when the second person has left."""
    assert chief.agree(ask(boss, 20)).status_code == 200
    assert held() == 20
    assert chief.client.delete(f"/api/v1/keys/{chief.signer.id}").status_code == 204
    assert held() == 20
    assert slug(chief.agree(ask(boss, 30))) == "key-not-pinned"


def test_a_forged_decision_is_shown_and_not_followed(boss, chief, as_web):
    """The database cannot verify a signature and takes the rows; sender and auditor can, and keep the tighter value."""
    assert forge(as_web, ask(boss, 400)) is None
    assert {line["name"]: line["value"] for line in boss.get("/safeguards/thresholds").json()}["a.fleet.hour"] == 400
    assert held() == 10
    with db.transaction() as session:
        assert evidence.thresholds(session).at("a.fleet.hour", clock.now()) == 10


def test_a_signature_is_good_for_its_own_request_once(boss, chief, as_web, sql):
    """Neither under another request nor a second time, after somebody has tightened again."""
    first = ask(boss, 20)
    assert chief.agree(first).status_code == 200
    [(signature,)] = sql("SELECT signature FROM threshold_request")
    assert forge(as_web, ask(boss, 400), signature=json.dumps(signature)) is None
    assert held() == 20
    boss.put("/safeguards/thresholds/a.fleet.hour", {"value": 5})
    assert "needs the signature" in as_web(
        "INSERT INTO safeguard_threshold (name, value, set_by, approved_by, request_id, reason)"
        f" VALUES ('a.fleet.hour', 20, 'operator:boss', 'operator:chief', '{first['id']}', '')"
    )
    assert "permission denied" in as_web(f"UPDATE threshold_request SET value = 400 WHERE id = '{first['id']}'")
    assert held() == 5


def test_a_key_that_was_pinned_for_the_desk_loosens_nothing(boss, sign_in, as_web):
    """Also when its holder is made an administrator: what an account may is a row like any other."""
    hana = sign_in("hana", Role.SUPPORT)
    asked = ask(boss, 20)
    assert as_web("UPDATE operator SET role = 'administrator' WHERE name = 'hana'") is None
    assert slug(hana.agree(asked)) == "key-not-pinned"
    assert "needs the signature" in forge(as_web, asked, by="hana")
    assert "permission denied" in as_web("UPDATE approver_key SET loosens = true")
    assert held() == 10


def test_a_thaw_counts_when_it_was_signed(boss, chief):
    """Two administrators thaw, the second by a signature; without one, or with one of something else, nothing does."""
    boss.post("/safeguards/freeze")
    assert frozen()
    wish = boss.thaw().json()["thaw_request"]
    assert chief.post("/safeguards/thaw").status_code == 422
    wrong = chief.signer.word(wish | {"subject": {**wish["subject"], "opened": 0}})
    assert slug(chief.post("/safeguards/thaw", wrong)) == "not-proved"
    assert frozen()
    assert chief.post("/safeguards/thaw", chief.signer.word(wish)).json()["open"] is False
    assert not frozen()


def test_a_forged_thaw_is_not_followed(boss, chief, as_web, sql):
    """Neither noise nor the signature of an earlier thaw closes the breaker for the sender."""
    thawed = (
        "INSERT INTO breaker_event (what, operator_id, actor, detail, asked_id, key_id, signature)"
        " SELECT 'thawed', k.operator_id, 'x', '', max(a.id), k.id, '{}' FROM breaker_event a, approver_key k"
        " JOIN operator o ON o.id = k.operator_id WHERE a.what = 'thaw_asked' AND o.name = 'chief' GROUP BY k.id"
    )
    boss.post("/safeguards/freeze")
    boss.thaw()
    chief.thaw()
    [(signature,)] = sql("SELECT signature FROM breaker_event WHERE what = 'thawed'")
    boss.post("/safeguards/freeze")
    assert "needs the signature" in as_web("INSERT INTO breaker_event (what, actor, detail) VALUES ('thawed', '', '')")
    assert as_web(thawed.format(json.dumps(signature))) is None
    assert frozen()
    boss.post("/safeguards/freeze")
    boss.thaw()
    assert as_web(thawed.format(NOISE)) is None
    assert frozen()
    assert boss.get("/safeguards/breaker").json()["thaw_asked_by"] == "operator:boss"
    assert chief.thaw().json()["open"] is False
    assert not frozen()
