"""Limits of use through their job, API and command line: once per cycle, annotated, in stages, by which means."""

import json
from datetime import date

import pytest
from typer.testing import CliRunner

from mdm import clock
from mdm.app import operator_app
from mdm.auth import Role
from mdm.cellular import cycles
from mdm.cellular.forecast.making import METHOD
from mdm.cli import build
from mdm.organization.hours import JST
from tests.serving import serving
from workers import usage_watch

GB = 10**9


def today() -> date:
    return clock.now().astimezone(JST).date()


@pytest.fixture
def lines(boss, sims, sql):
    """The lines of the plan with 7 GB in a pool; return it."""
    [plan] = [each for each in boss.get("plans").json() if each["code"] == "7gb"]
    terms = {"allowance_bytes": 7 * GB, "effective": "2026-01-01T00:00+09:00"}
    assert boss.post(f"plans/{plan['id']}/terms", json=terms).status_code == 201
    pool = boss.post("pools", json={"account": "files-1", "name": "share-1"}).json()["id"]
    sql(
        "INSERT INTO pool_membership (pool_id, sim_id, valid_from, set_by)"
        " SELECT :pool, id, '2026-01-01', 'test' FROM sim",
        pool=pool,
    )
    return pool


@pytest.fixture
def used(sql, lines):
    """Say what a line used in the present cycle."""

    def write(sim, size):
        cycle = cycles.of_day(today(), 1)
        sql(
            "INSERT INTO usage_cycle (sim_id, cycle_start, cycle_end, account_id, pool_id, bytes_total)"
            " SELECT id, :start, :end, account_id, :pool, :size FROM sim WHERE id = :sim"
            " ON CONFLICT (sim_id, cycle_start) DO UPDATE SET bytes_total = excluded.bytes_total",
            sim=sim,
            size=size,
            start=cycle.start,
            end=cycle.end,
            pool=lines,
        )

    return write


def fired(sql):
    return sql("SELECT scope, scope_id, level, action FROM threshold_event ORDER BY id")


def pages(sql):
    return sql("SELECT subject, details FROM notice WHERE what = 'usage.limit' ORDER BY at, id")


def test_a_limit_fires_once(sims, used, sql) -> None:
    """What is at its limit fires once, with what was done; more use and another hint fire nothing again."""
    used(sims[1], 7 * GB - 1)
    usage_watch.look()
    assert fired(sql) == []
    used(sims[1], 7 * GB)
    usage_watch.look()
    assert fired(sql) == [("sim", sims[1], 1, "tell_tablet")]
    [(done, settled)] = sql("SELECT done, settled_at IS NOT NULL FROM threshold_event")
    assert done == "in the notice for its school: no message reaches a tablet that is not locked"
    assert settled
    used(sims[1], 8 * GB)
    usage_watch.look()
    assert len(fired(sql)) == 1
    [(subject, details)] = pages(sql)
    assert subject == "Limits of data use were passed by 1 lines"
    assert details["schools"] == {"E1": {"tell_tablet": 1}}


def test_a_correction_is_noted_and_takes_nothing_back(sims, used, sql) -> None:
    """A value that falls below its limit again is noted beside the event, and the note goes when it is above again."""
    used(sims[1], 8 * GB)
    usage_watch.look()
    used(sims[1], 2 * GB)
    assert usage_watch.look()["annotated"] == 1
    assert sql("SELECT note FROM threshold_event") == [("corrected since: 2000000000 bytes, below the limit",)]
    assert not usage_watch.look()["annotated"]
    used(sims[1], 9 * GB)
    usage_watch.look()
    assert sql("SELECT note FROM threshold_event") == [("",)]
    assert len(pages(sql)) == 1


def test_stages_have_time_to_work(sims, used, sql) -> None:
    """However far above, the warning comes a day after the school was told, and the restriction later still."""
    used(sims[1], 30 * GB)
    levels = "SELECT level FROM threshold_event WHERE scope = 'sim' ORDER BY id"
    for known in ([1, 2], [1, 2, 3], [1, 2, 3, 4]):
        usage_watch.look()
        assert [level for (level,) in sql(levels)] == known
        usage_watch.look()
        assert [level for (level,) in sql(levels)] == known
        sql("UPDATE threshold_event SET fired_at = fired_at - interval '1 day'")
    assert sql("SELECT settled_at FROM threshold_event WHERE level = 4") == [(None,)]


def test_a_restriction_says_by_which_means(sims, used, sql, boss) -> None:
    """An account that can slow a line names its speed; one that cannot says that a policy must, and waits."""
    sql("UPDATE threshold_rule SET parameters = '{}' WHERE action = 'restrict'")
    used(sims[1], 30 * GB)
    usage_watch.look()
    done = "SELECT done FROM threshold_event WHERE scope_id = :sim AND action = 'restrict'"
    assert "the carrier cannot slow the line; a policy" in sql(done, sim=sims[1])[0][0]
    sql("""UPDATE carrier_account SET capabilities = '{"acts": ["speed"], "speeds": ["s1.minimum", "s1.fast"]}'""")
    used(sims[2], 30 * GB)
    usage_watch.look()
    assert sql(done, sim=sims[2]) == [("waits for a person: the carrier can slow the line (s1.minimum)",)]
    waiting = boss.get("usage/alerts", params={"waiting": True}).json()["items"]
    assert [each["control_number"] for each in waiting] == ["T2", "T1"]
    settled = boss.post(f"usage/alerts/{waiting[0]['id']}/settle", json={"done": "talked to the class"})
    assert settled.json()["done"] == "talked to the class"
    assert boss.post(f"usage/alerts/{waiting[0]['id']}/settle", json={"done": "again"}).status_code == 409
    assert len(boss.get("usage/alerts", params={"waiting": True}).json()["items"]) == 1


def test_a_pool_that_will_not_do(lines, sims, used, sql) -> None:
    """A pool is called out at its share of what it may use, and when its forecast crosses that."""
    for number in (1, 2, 3, 4):
        used(sims[number], 6 * GB)
    sql(
        "INSERT INTO forecast_snapshot (made_on, scope, scope_id, method, cycle_start, used_bytes, p10, p50, p90)"
        " VALUES (:day, 'pool', :pool, :method, :start, :used, :p50, :p50, :p50)",
        day=today(),
        pool=lines,
        method=METHOD,
        start=cycles.of_day(today(), 1).start,
        used=24 * GB,
        p50=29 * GB,
    )
    usage_watch.look()
    assert {row[2:] for row in fired(sql) if row[0] == "pool"} == {(1, "page")}
    metrics = sql("SELECT r.metric FROM threshold_event e JOIN threshold_rule r ON r.id = e.rule_id ORDER BY 1")
    assert metrics == [("forecast",), ("used",)]
    [(subject, details)] = pages(sql)
    assert subject.endswith("2 pools")
    assert "files-1/share-1" in details["others"]


def test_rules_are_checked_and_on_record(boss, sql) -> None:
    """A rule that cannot be is refused with its field; changes are on record without their reason."""
    assert len(boss.get("usage/rules").json()) == 7
    rule = {"scope": "school", "metric": "used", "level": 1, "act": "page", "limit_bytes": 100 * GB}
    added = boss.post("usage/rules", json=rule | {"reason": "Hanako asked"})
    assert added.status_code == 201
    for wrong, pointer in (
        ({"limit_percent": 50, "limit_bytes": None}, "/limit_percent"),
        ({"limit_percent": 50}, "/limit_bytes"),
        ({"act": "restrict"}, "/act"),
        ({"metric": "day"}, "/metric"),
        ({"scope": "account"}, "/scope"),
    ):
        refused = boss.post("usage/rules", json=rule | wrong)
        assert refused.status_code == 422
        assert pointer in [each["pointer"] for each in refused.json()["errors"]]
    number = added.json()["id"]
    changed = boss.put(f"usage/rules/{number}", json=rule | {"limit_bytes": 50 * GB, "active": False})
    assert (changed.json()["limit_bytes"], changed.json()["active"]) == (50 * GB, False)
    assert boss.put("usage/rules/999", json=rule).status_code == 404
    records = sql(
        "SELECT action, details::text FROM audit_event WHERE subject = :of ORDER BY id", of=f"usage_rule:{number}"
    )
    assert [action for action, _ in records] == ["usage_rule.add", "usage_rule.change"]
    assert "Hanako" not in str(records)


def test_who_sees_alerts(sims, used, sql, boss, sign_in) -> None:
    """People of a school see its lines' alerts; those of pools and of other schools do not exist for them."""
    for number in (1, 2, 3, 4):
        used(sims[number], 7 * GB)
    usage_watch.look()
    assert {each["scope"] for each in boss.get("usage/alerts").json()["items"]} == {"sim", "pool"}
    hana = sign_in("hana", Role.SUPPORT, "E1")
    assert {each["control_number"] for each in hana.get("usage/alerts").json()["items"]} == {"T1", "T2", "T3"}
    assert sign_in("jiro", Role.SUPPORT, "E2").get("usage/alerts").json()["items"] == []
    assert boss.get("usage/alerts", params={"school": "E2"}).json()["items"] == []


def test_rules_from_the_command_line(sims, used, boss, monkeypatch, sql) -> None:
    """List, add, change, switch off; list alerts and settle one."""
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", boss.headers["Authorization"].removeprefix("Bearer "))

        def tabane(*words, code=0):
            done = CliRunner().invoke(build("usage"), ["usage", *words], prog_name="tabane")
            assert done.exit_code == code, done.output
            return done.output

        assert "sim used level 1 at 100%: tell_tablet" in tabane("rules", "list")
        added = json.loads(tabane("rules", "add", "sim", "day", "restrict", "--level", "1", "--gb", "1.5", "--json"))
        assert (added["limit_bytes"], added["automatic"]) == (15 * GB // 10, False)
        number = str(added["id"])
        assert "at 3.0 GB: restrict" in tabane("rules", "set", number, "--gb", "3")
        assert "at 50%: note" in tabane("rules", "set", number, "--percent", "50", "--act", "note")
        assert "(off)" in tabane("rules", "set", number, "--off")
        assert "no such rule" in tabane("rules", "set", "999", "--off", code=1)
        sql("UPDATE threshold_rule SET parameters = '{}' WHERE action = 'restrict'")
        used(sims[1], 30 * GB)
        usage_watch.look()
        assert "T1" in tabane("alerts", "--waiting")
        [alert] = json.loads(tabane("alerts", "--waiting", "--json"))
        assert "talked" in tabane("settle", str(alert["id"]), "talked to the class")
        assert json.loads(tabane("alerts", "--waiting", "--json")) == []


@pytest.fixture
def pretended(air, sql):
    """The first pretended line of SORACOM in tablet T6, read from its carrier, at its usual speed; return its id."""
    air.rounds("sims")
    sim = air.sim(0)
    sql(
        "INSERT INTO sim_binding (sim_id, device_id, valid_from, source, bound_by)"
        " SELECT :sim, id, now(), 'operator', 'test' FROM device WHERE control_number = 'T6'",
        sim=sim["id"],
    )
    assert sim["effective_speed"]
    return sim["id"]


@pytest.fixture
def over(pretended, used, sql):
    """Let restrictions fire at once, and the pretended line be far above; `automatic` for without a person."""

    def pass_limit(*, automatic):
        sql("DELETE FROM threshold_rule WHERE action <> 'restrict'")
        parameters = json.dumps({"automatic": True} if automatic else {})
        sql(
            "UPDATE threshold_rule SET limit_percent = NULL, limit_bytes = 1000, parameters = CAST(:p AS jsonb)",
            p=parameters,
        )
        used(pretended, 30 * GB)
        usage_watch.look()

    return pass_limit


def next_cycle(sql):
    """Let everything have happened in the cycle before."""
    sql("UPDATE threshold_event SET cycle_start = (cycle_start - interval '1 month')::date")
    sql("DELETE FROM usage_cycle")
    usage_watch.look()


def test_a_line_is_slowed_for_the_rest_of_the_cycle(over, pretended, air, sql) -> None:
    """An automatic restriction asks the carrier, whose own word makes it so; with the next cycle the line is let go."""
    before = air.sim(0)["effective_speed"]
    over(automatic=True)
    [(done, settled)] = sql("SELECT done, settled_at IS NOT NULL FROM threshold_event")
    assert done == "the carrier was asked to slow the line (s1.minimum), until the cycle is over"
    assert settled
    assert air.sim(0)["effective_speed"] == before
    air.acts()
    air.acts()
    assert air.sim(0)["effective_speed"] == "s1.minimum"
    usage_watch.look()
    assert sql("SELECT count(*) FROM sim_action") == [(1,)]
    next_cycle(sql)
    air.acts()
    air.acts()
    assert air.sim(0)["effective_speed"] == before
    assert sql("SELECT note FROM threshold_event") == [
        (f"the cycle is over: the carrier was asked for {before} again",)
    ]
    usage_watch.look()
    assert sql("SELECT count(*) FROM sim_action") == [(2,)]


def test_a_speed_that_somebody_set_since_stays(over, pretended, air, boss, sql) -> None:
    """Whoever gave the line another speed meanwhile is not overruled when the cycle is over."""
    over(automatic=True)
    air.acts()
    air.acts()
    body = {"kind": "speed", "value": "s1.standard", "reason": "homework"}
    assert boss.post(f"sims/{pretended}/actions", json=body, headers={"Idempotency-Key": "k"}).status_code == 202
    air.acts()
    air.acts()
    next_cycle(sql)
    assert sql("SELECT note FROM threshold_event") == [("somebody has set another speed since",)]
    assert air.sim(0)["intended_speed"] == "s1.standard"


def test_a_person_decides_on_a_restriction(over, pretended, air, boss, sims, used, sql) -> None:
    """Without `automatic` nothing is asked until a person says so; where only a policy can, that is said."""
    used(sims[1], 30 * GB)
    over(automatic=False)
    assert sql("SELECT count(*) FROM sim_action") == [(0,)]
    waiting = {each["scope_id"]: each["id"] for each in boss.get("usage/alerts").json()["items"]}
    path = "usage/alerts/{}/restrict"
    refused = boss.post(path.format(waiting[sims[1]]), json={"reason": "r"})
    assert (refused.status_code, "policy exception" in refused.json()["detail"]) == (409, True)
    wrong = boss.post(path.format(waiting[pretended]), json={"reason": "r", "speed": "warp"})
    assert wrong.status_code == 422
    slowed = boss.post(path.format(waiting[pretended]), json={"reason": "r", "speed": "s1.slow"})
    assert slowed.json()["done"] == (
        "the carrier was asked to slow the line (s1.slow), on a person's word, until the cycle is over"
    )
    assert sql("SELECT value, state FROM sim_action") == [("s1.slow", "approved")]
    assert boss.post(path.format(waiting[pretended]), json={"reason": "r"}).status_code == 409


def test_not_too_many_lines_are_slowed_by_themselves(over, pretended, air, sql, used) -> None:
    """What is beyond the number that a job may change at once waits for a person."""
    others = [air.sim(number)["id"] for number in (1, 2)]
    sql(
        "INSERT INTO safeguard_threshold (name, value, set_at, set_by, reason)"
        " VALUES ('sims.at_once', 2, now(), 'test', '')"
    )
    for sim in others:
        used(sim, 30 * GB)
    over(automatic=True)
    assert sql("SELECT count(*) FROM sim_action") == [(2,)]
    [(done,)] = sql("SELECT done FROM threshold_event WHERE settled_at IS NULL")
    assert done.endswith("enough lines were slowed by themselves today")
