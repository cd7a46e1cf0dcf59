"""Rings: who is first, in which order, and who may say so; through the room, the API and the command line."""

import json

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mdm.app import operator_app
from mdm.auth import Role, credentials
from mdm.errors import Forbidden, Invalid, NotFound
from profiles.rollouts import rings


def put(district, name, *places, position=None):
    return rings.put(district.session, district.principal, name, places, position=position)


def names(district):
    found = rings.ordered(district.session)
    assert [each.position for each in found] == list(range(1, len(found) + 1))
    return [each.name for each in found]


def test_rings_keep_the_order_they_are_given(district):
    """A new ring is the last, a position moves a ring and the others make way, a dropped one leaves no gap."""
    for name in ("IT office", "teachers", "pilot"):
        put(district, name, "school=0101")
    assert names(district) == ["IT office", "teachers", "pilot"]
    put(district, "pilot", "school=0102", position=1)
    assert names(district) == ["pilot", "IT office", "teachers"]
    put(district, "pilot", "serial=d")
    put(district, "教育委員会", "serial=A", position=99)
    assert names(district) == ["pilot", "IT office", "teachers", "教育委員会"]
    rings.drop(district.session, district.principal, "IT office")
    assert names(district) == ["pilot", "teachers", "教育委員会"]
    assert rings.ordered(district.session)[0].places == ["serial=D"]


def test_a_tablet_belongs_to_the_first_ring_that_holds_it(district):
    """By its serial number, its holder's class or its school, whichever ring comes first; in none it is left out."""
    put(district, "office", "serial=B")
    put(district, "class", "class=0101/6/1", "class=0102/6/1")
    put(district, "school", "school=0101", "serial=D")
    ids = district.tablets
    asked = list(ids.values())
    found = rings.first_rings(district.session, asked)
    assert found == {ids["B"]: "office", ids["A"]: "class", ids["D"]: "class", ids["C"]: "school"}
    assert [each.tablets for each in rings.ordered(district.session)] == [1, 2, 1]
    assert rings.first_rings(district.session, [ids["C"]]) == {ids["C"]: "school"}
    put(district, "class", "class=0101/6/1", position=1)
    put(district, "school", "school=0101")
    assert rings.first_rings(district.session, asked) == {ids["A"]: "class", ids["B"]: "class", ids["C"]: "school"}
    assert rings.first_rings(district.session, []) == {}


def test_every_wrong_place_is_named(district):
    """By its number in the list, and nothing is stored."""
    with pytest.raises(Invalid) as refused:
        put(district, "pilot", "school=0101", "school=9999", "fleet", "classroom", "class=0101/6/1", "serial=NOPE")
    assert refused.value.errors == [
        {"pointer": "/places/1", "detail": "school=9999 is not in the ledger"},
        {"pointer": "/places/2", "detail": "write school=CODE, class=CODE/6/1 or serial=S"},
        {"pointer": "/places/3", "detail": "write school=CODE, class=CODE/6/1 or serial=S"},
        {"pointer": "/places/5", "detail": "serial=NOPE is not in the ledger"},
    ]
    assert rings.ordered(district.session) == []


def test_a_place_stands_in_a_ring_once(district):
    """Written twice, also in small letters, it is kept once."""
    assert put(district, "pilot", "serial=a", "serial=A", "school=0101").places == ["serial=A", "school=0101"]


def test_a_place_that_the_ledger_no_longer_knows_holds_nobody(district):
    """The ring stays as it was written, without that tablet."""
    put(district, "pilot", "serial=A", "serial=D")
    district.session.execute(text("UPDATE device SET serial = 'E' WHERE serial = 'D'"))
    [ring] = rings.ordered(district.session)
    assert (ring.places, ring.tablets) == (["serial=A", "serial=D"], 1)


def test_a_ring_is_the_whole_districts(district):
    """Who administers one school neither makes nor drops rings, and sees of them what lies in that school."""
    put(district, "pilot", "serial=A", "school=0102")
    one = district.operator("0101")
    for act in (
        lambda: rings.put(district.session, one, "mine", ["school=0101"]),
        lambda: rings.drop(district.session, one, "pilot"),
    ):
        with pytest.raises(Forbidden):
            act()
    [ring] = rings.ordered(district.session, one.scope)
    assert (ring.name, ring.places, ring.tablets) == ("pilot", ["serial=A"], 1)


def test_changes_go_on_record(district):
    """With what the ring holds from then on; a ring that is not there cannot be dropped."""
    put(district, "pilot", "serial=A")
    rings.drop(district.session, district.principal, "pilot")
    with pytest.raises(NotFound):
        rings.drop(district.session, district.principal, "pilot")
    events = district.session.execute(text("SELECT action, subject, details FROM audit_event ORDER BY id")).all()
    assert [tuple(each) for each in events] == [
        ("ring.put", "ring:pilot", {"position": 1, "places": ["serial=A"]}),
        ("ring.drop", "ring:pilot", {}),
    ]


@pytest.fixture
def api(database):
    with TestClient(operator_app(), base_url="http://127.0.0.1") as client:
        yield client


def bearer(district, *codes, role=Role.ADMINISTRATOR):
    issued = credentials.open_session(district.session, district.operator(*codes, role=role).id)
    district.session.commit()
    return {"Authorization": f"Bearer {issued.secret}"}


def test_rings_through_the_api(api, district):
    """Put, list, drop; errors point into the body, and only an administrator of all schools changes anything."""
    admin, one, viewer = bearer(district), bearer(district, "0101"), bearer(district, role=Role.VIEWER)
    body = {"places": ["serial=a", "school=0102"]}
    made = api.put("/api/v1/rings/IT%20office", json=body, headers=admin)
    assert made.status_code == 200
    expected = {"name": "IT office", "position": 1, "places": ["serial=A", "school=0102"], "tablets": 2}
    assert made.json() == expected
    assert api.get("/api/v1/rings", headers=viewer).json() == [expected]
    assert api.get("/api/v1/rings", headers=one).json()[0]["places"] == ["serial=A"]
    for wrong, pointer in (
        ({"places": ["school=x"]}, "/places/0"),
        ({"places": []}, "/places"),
        ({"places": ["school=0101"], "position": 0}, "/position"),
        ({"places": ["school=0101"], "ring": 1}, "/ring"),
    ):
        answer = api.put("/api/v1/rings/a", json=wrong, headers=admin)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert api.put("/api/v1/rings/a%2Fb", json=body, headers=admin).status_code == 404
    assert api.put("/api/v1/rings/a!", json=body, headers=admin).status_code == 422
    for who in (one, viewer):
        assert api.put("/api/v1/rings/a", json=body, headers=who).status_code == 403
        assert api.delete("/api/v1/rings/IT%20office", headers=who).status_code == 403
    assert api.delete("/api/v1/rings/IT%20office", headers=admin).status_code == 204
    assert api.delete("/api/v1/rings/IT%20office", headers=admin).status_code == 404


def test_rings_at_the_command_line(tabane):
    """Set, list, drop."""
    status, out, _ = tabane("ring", "set", "IT office", "--place", "serial=A", "--place", "class=0102/6/1")
    assert (status, out.split()) == (0, ["1", "IT", "office", "2", "tablets", "serial=A,", "class=0102/6/1"])
    tabane("ring", "set", "pilot", "--place", "school=0102", "--position", 1)
    assert [each["name"] for each in json.loads(tabane("ring", "list", "--json")[1])] == ["pilot", "IT office"]
    assert tabane("ring", "drop", "pilot")[0] == 0
    assert "pilot" not in tabane("ring", "list")[1]
    status, _, err = tabane("ring", "set", "pilot", "--place", "school=9")
    assert (status, "/places/0: school=9 is not in the ledger" in err) == (1, True)
