"""Limits through the API: what holds, who may set it, what it was."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from mdm.audit import inspection
from mdm.auth import Role
from mdm.limits import limits
from mdm.limits.values import Name
from mdm.platform import Platform

PATH = "/api/v1/limits"


def put(client, name, value, **more):
    return client.put(f"{PATH}/{name}", json={"value": value, **more})


def shown(client):
    return {(line["name"], line["school"]): line for line in client.get(PATH).json()}


def test_before_anybody_sets_one_the_settings_hold(api, session):
    """Every limit is there, with its first value and nobody's name."""
    lines = shown(api("boss"))
    assert set(lines) == {(name.value, None) for name in Name}
    assert lines["fleet", None]["value"] == {"per_s": 150, "burst": 300}
    assert {line["set_at"] for line in lines.values()} == {None}
    held = limits.current(session)
    assert (held.gate_gb, held.pool_gb) == (20, None)
    assert held.provider(Platform.APPLE).per_s == 0


def test_the_newest_setting_holds_and_the_former_are_history(api, session, schools):
    """Setting again adds a line; who, when, why and what it was can be read."""
    boss = api("boss")
    assert put(boss, "fleet", {"per_s": 200, "burst": 400}, reason="summer").status_code == 200
    line = put(boss, "fleet", {"per_s": 50}).json()
    assert line["value"] == {"per_s": 50, "burst": 400}
    assert shown(boss)["fleet", None] == line
    pages = [boss.get(f"{PATH}/fleet/history", params={"limit": 1}).json()]
    pages.append(boss.get(f"{PATH}/fleet/history", params={"limit": 1, "cursor": pages[0]["next"]}).json())
    assert [page["items"][0]["value"]["per_s"] for page in pages] == [50, 200]
    assert pages[1]["items"][0]["set_by"] == "operator:boss"
    assert pages[1]["items"][0]["reason"] == "summer"
    assert pages[1]["next"] is None
    assert limits.current(session).rate(Name.FLEET).per_s == 50


def test_a_school_may_have_its_own(api, session, schools):
    """Everybody's value holds for the other schools, and for this one again once its own is taken back."""
    boss = api("boss")
    put(boss, "school", {"per_s": 5, "burst": 10})
    put(boss, "school", {"per_s": 1}, school="E1")
    put(boss, "school.bytes", {"bands": {"08:15-15:45": 500_000, "else": 0}}, school="E1")
    held = limits.current(session)
    assert (held.school(schools["E1"]).per_s, held.school(schools["E1"]).burst) == (1, 10)
    assert held.school(schools["E2"]).per_s == 5
    assert held.school_bytes(schools["E1"]).at(9 * 60)[0] == 500_000
    assert held.school_bytes(schools["E2"]).at(9 * 60)[0] == 0
    assert put(boss, "school", None, school="E1").json()["value"] is None
    session.rollback()
    assert limits.current(session).school(schools["E1"]).per_s == 5
    assert ("school", "E1") not in shown(boss)
    put(boss, "school", None)
    session.rollback()
    assert limits.current(session).school(schools["E1"]).per_s == 10


def test_who_may_set_what(api):
    """Everybody's limits take an administrator of all schools, a school's own one of that school."""
    here = api("hana", school="E1")
    rate = {"per_s": 1, "burst": 1}
    for name in ("fleet", "provider.apple", "device", "urgent", "school"):
        assert put(here, name, rate).status_code == 403
    assert put(here, "school", rate, school="E1").status_code == 200
    assert put(here, "school", rate, school="E2").json()["errors"][0]["pointer"] == "/school"
    assert put(here, "fleet", rate, school="E1").json()["errors"][0]["pointer"] == "/school"
    for role in (Role.VIEWER, Role.SUPPORT):
        assert put(api(role.value, role), "fleet", rate).status_code == 403


def test_own_limits_of_other_schools_are_not_shown(api):
    """Outside the scope neither the value nor its history exists."""
    boss, there = api("boss"), api("jiro", Role.VIEWER, school="E2")
    put(boss, "school", {"per_s": 1}, school="E1")
    assert ("school", "E1") in shown(boss)
    assert ("school", "E1") not in shown(there)
    assert ("school", None) in shown(there)
    assert there.get(f"{PATH}/school/history", params={"school": "E1"}).status_code == 404


@pytest.mark.parametrize(
    ("name", "body", "pointer"),
    [
        ("fleet", {"value": {"per_s": -1}}, "/value/per_s"),
        ("fleet", {"value": {"per_s": 1, "burst": 0}}, "/value/burst"),
        ("school.bytes", {"value": {"bands": {"8-9": 1}}}, "/value/bands/8-9"),
        ("school", {"value": {"per_s": 1}, "school": "nowhere"}, "/school"),
        ("school", {"value": 5}, "/value"),
        ("school", {}, "/value"),
        ("school", {"value": None, "colour": "red"}, "/colour"),
        ("colour", {"value": None}, "?name"),
    ],
)
def test_bad_requests_name_the_field(api, name, body, pointer):
    """Whatever is wrong with a request, the answer says where, and nothing is stored."""
    boss = api("boss")
    answer = boss.put(f"{PATH}/{name}", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert {line["set_at"] for line in shown(boss).values()} == {None}


def test_numbers_that_json_does_not_have_are_refused(api):
    """NaN and infinity are words to Python's reader; here they are errors at their field."""
    boss = api("boss")
    for word in ("NaN", "Infinity", "1e999"):
        body = f'{{"value": {{"per_s": {word}}}}}'
        answer = boss.put(f"{PATH}/fleet", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422


def test_setting_is_on_record_and_cannot_be_undone_in_sql(api, session):
    """The trail has what it was and what it became; the table refuses changes."""
    put(api("boss"), "fleet", {"per_s": 7}, reason="because")
    acts = session.execute(text("SELECT actor, action, subject, details FROM audit_event")).all()
    details = {"value": {"per_s": "7.0", "burst": 300}, "before": {"per_s": "150.0", "burst": 300}}
    assert acts == [("operator:boss", "limit.set", "limit:fleet", details)]
    assert inspection.verify(session).intact
    for change in ("UPDATE throttle_limit SET reason = ''", "DELETE FROM throttle_limit"):
        with pytest.raises(DBAPIError, match="append-only"):
            session.execute(text(change))
        session.rollback()


def test_names_of_a_newer_version_are_passed_over(api, session):
    """A limit that this version does not know, written by a newer one, disturbs nothing."""
    insert = "INSERT INTO throttle_limit (name, value, set_at, set_by, reason) VALUES ('new', '{}', now(), 'x', '')"
    session.execute(text(insert))
    session.commit()
    assert len(shown(api("boss"))) == len(Name)
    assert limits.newest_id(session) > 0
    assert limits.current(session).rate(Name.FLEET).per_s == 150
