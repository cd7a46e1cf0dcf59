"""The operator API of policies and rollouts, through its door."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from mdm.app import operator_app
from mdm.auth import Role, credentials

DOC = {"version": 1, "name": "district", "layer": "fleet", "usb": {"external_storage": "deny"}}


@pytest.fixture
def api(database):
    """A client of the operator app."""
    with TestClient(operator_app(), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def bearer(district, session):
    def make(*codes, role=Role.ADMINISTRATOR):
        issued = credentials.open_session(session, district.operator(*codes, role=role).id)
        session.commit()
        return {"Authorization": f"Bearer {issued.secret}"}

    return make


def test_a_policy_goes_from_file_to_tablets_through_the_api(api, bearer):
    """Validate, plan, apply, roll out, watch, end."""
    admin = bearer()
    checked = api.post("/api/v1/policies/validate", json={"documents": [DOC]}, headers=admin)
    assert (checked.status_code, checked.json()[0]["layer"]) == (200, "fleet")
    plan = api.post("/api/v1/policies/plan", json={"documents": [DOC]}, headers=admin).json()
    assert (plan["touched"], plan["steps"][0]["action"], plan["steps"][0]["revision"]) == (4, "new", 1)
    body = {"documents": [DOC], "expected_revisions": {"district": 1}}
    assert api.post("/api/v1/policies", json=body, headers=admin).json()[0]["revision"] == 1
    started = api.post("/api/v1/rollouts", json={"policy": "district", "target": "fleet"}, headers=admin)
    assert started.status_code == 201
    shown = api.get(f"/api/v1/rollouts/{started.json()['id']}", headers=admin).json()
    assert (shown["state"], shown["counts"]["pending"]) == ("running", 4)
    ended = api.post(f"/api/v1/rollouts/{shown['id']}/finish", headers=admin).json()
    assert ended["state"] == "finished"
    assert api.get("/api/v1/policies/district", headers=admin).json()["released"] == 1
    assert len(api.get("/api/v1/policies/district/revisions", headers=admin).json()) == 1
    effective = api.get("/api/v1/effective-policy", params={"serial": "a"}, headers=admin).json()
    assert effective["decided_by"] == {"/usb/external_storage": ["district"]}


def test_errors_are_problems_with_pointers_into_the_request(api, bearer):
    """Every wrong field, with the nearest right key."""
    wrong = {"documents": [DOC, {**DOC, "name": "x", "usb": {"hostpairing": "deny"}}]}
    answer = api.post("/api/v1/policies/plan", json=wrong, headers=bearer())
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"] == [
        {"pointer": "/documents/1/usb/hostpairing", "detail": "no such key; did you mean `host_pairing`?"}
    ]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SUPPORT])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("policies", {"documents": [DOC]}),
        ("policies/plan", {"documents": [DOC]}),
        ("rollouts", {"policy": "district", "target": "fleet"}),
        ("rollouts/01890a5d-ac96-774b-bcce-b302099a8057/finish", None),
    ],
)
def test_only_administrators_change_what_tablets_should_be(api, bearer, role, path, body):
    """Others read."""
    assert api.post(f"/api/v1/{path}", json=body, headers=bearer(role=role)).status_code == 403
    assert api.post(f"/api/v1/{path}", json=body).status_code == 401


def test_scope_holds_on_every_route(api, bearer):
    """Another school's policy and tablet look as if they were not there."""
    two = {**DOC, "name": "two", "layer": {"school": "0102"}}
    assert api.post("/api/v1/policies", json={"documents": [two]}, headers=bearer()).status_code == 200
    one = bearer("0101")
    for path in ("policies/two", "policies/two/revisions", "effective-policy?serial=D"):
        assert api.get(f"/api/v1/{path}", headers=one).status_code == 404, path
    assert api.get("/api/v1/policies", headers=one).json() == {"items": [], "next": None}
    start = {"policy": "two", "target": "school=0102"}
    assert api.post("/api/v1/rollouts", json=start, headers=one).status_code == 404


def test_lists_come_in_pages(api, bearer):
    """Policies and rollouts continue where the page before ended."""
    admin = bearer()
    documents = [
        DOC,
        {**DOC, "name": "one", "layer": {"school": "0101"}},
        {**DOC, "name": "a", "layer": {"serial": "A"}},
    ]
    api.post("/api/v1/policies", json={"documents": documents}, headers=admin)
    for name in ("district", "one", "a"):
        api.post("/api/v1/rollouts", json={"policy": name, "target": "fleet"}, headers=admin)
    for path, field, names in (
        ("policies", "name", ["district", "one", "a"]),
        ("rollouts", "policy", ["a", "one", "district"]),
    ):
        first = api.get(f"/api/v1/{path}?limit=2", headers=admin).json()
        rest = api.get(f"/api/v1/{path}", params={"limit": 2, "cursor": first["next"]}, headers=admin).json()
        assert [item[field] for item in first["items"] + rest["items"]] == names
        assert rest["next"] is None


def test_storing_through_the_api_passes_the_gate(api, bearer):
    """The plan's hash, the count of what is lost and the overrides travel with the documents."""
    admin = bearer()
    harm = [{**DOC, "web_filter": {"deny_list": ["login.microsoftonline.com"]}}]
    plan = api.post("/api/v1/policies/plan", json={"documents": harm}, headers=admin).json()
    assert {lint["code"] for lint in plan["lints"]} == {"sign-in-blocked"}
    stopped = api.post("/api/v1/policies", json={"documents": harm}, headers=admin)
    assert (stopped.status_code, stopped.json()["type"].rpartition(":")[2]) == (409, "lint-stops")
    body = {"documents": harm, "overrides": ["sign-in-blocked"], "reason": "meant"}
    assert api.post("/api/v1/policies", json={**body, "plan": "0" * 64}, headers=admin).status_code == 409
    assert api.post("/api/v1/policies", json={**body, "plan": plan["hash"]}, headers=admin).status_code == 200
    start = {"policy": "district", "target": "fleet"}
    assert api.post("/api/v1/rollouts", json=start, headers=admin).status_code == 201
    lost = api.post("/api/v1/policies", json={"documents": [DOC]}, headers=admin)
    assert (lost.status_code, "allow exactly 4" in lost.json()["detail"]) == (409, True)
    assert api.post("/api/v1/policies", json={"documents": [DOC], "allow_delete": 4}, headers=admin).status_code == 200


def test_an_exception_goes_from_request_to_end_through_the_api(api, bearer):
    """Support of a school asks, an administrator of all agrees, and it shows in the explanation."""
    admin, school = bearer(), bearer("0101", role=Role.SUPPORT)
    api.post("/api/v1/policies", json={"documents": [DOC]}, headers=admin)
    api.post("/api/v1/rollouts", json={"policy": "district", "target": "fleet"}, headers=admin)
    body = {
        "place": "class=0101/6/1",
        "set": {"usb": {"external_storage": "allow"}},
        "reason": "microscopes",
        "expires_at": (datetime.now(UTC) + timedelta(days=7)).isoformat(),
    }
    assert api.post("/api/v1/policy-exceptions", json=body, headers=bearer(role=Role.VIEWER)).status_code == 403
    assert api.post("/api/v1/policy-exceptions", json=body, headers=bearer("0102")).status_code == 404
    asked = api.post("/api/v1/policy-exceptions", json=body, headers=school).json()
    path = f"/api/v1/policy-exceptions/{asked['id']}"
    assert api.post(f"{path}/approve", headers=school).status_code == 403
    assert api.get(path, headers=bearer("0102")).status_code == 404
    assert api.post(f"{path}/approve", headers=admin).json()["state"] == "active"
    assert [each["id"] for each in api.get("/api/v1/policy-exceptions", headers=school).json()["items"]] == [
        asked["id"]
    ]
    found = api.get("/api/v1/effective-policy", params={"serial": "a"}, headers=school).json()
    assert found["layers"] == ["fleet", "school=0101", "class=0101/6/1", "serial=A"]
    (field,) = found["fields"]
    assert (field["pointer"], field["value"], field["rule"]) == ("/usb/external_storage", "allow", "strictest")
    assert (field["by"], field["layers"]) == ([f"exception {asked['id']}"], ["class=0101/6/1"])
    assert [voice["name"] for voice in found["voices"]] == ["district", f"exception {asked['id']}"]
    assert api.post(f"{path}/end", headers=school).json()["state"] == "ended"
    assert api.get("/api/v1/policy-exceptions", headers=school).json()["items"] == []
    assert len(api.get("/api/v1/policy-exceptions?all=true", headers=school).json()["items"]) == 1
    found = api.get("/api/v1/effective-policy", params={"serial": "C"}, headers=school).json()
    assert found["layers"] == ["fleet", "school=0101", "serial=C"]


def test_no_answer_holds_a_password(api, bearer):
    """Stored, planned, listed, explained: dots everywhere."""
    admin = bearer()
    networks = [{"ssid": "school", "security": "wpa2", "password": "invented-secret"}]
    body = {"documents": [{**DOC, "wifi": {"networks": networks}}]}
    answers = [
        api.post("/api/v1/policies/validate", json=body, headers=admin),
        api.post("/api/v1/policies/plan", json=body, headers=admin),
        api.post("/api/v1/policies", json=body, headers=admin),
        api.post("/api/v1/rollouts", json={"policy": "district", "target": "fleet"}, headers=admin),
        api.get("/api/v1/policies/district", headers=admin),
        api.get("/api/v1/policies/district/revisions", headers=admin),
        api.get("/api/v1/effective-policy?serial=A", headers=admin),
        api.get("/api/v1/audit", headers=admin),
    ]
    assert [answer.status_code // 100 for answer in answers[:-1]] == [2] * 7
    assert not any("invented-secret" in answer.text for answer in answers)
    assert "\u2022" in answers[6].json()["sections"]["wifi"]["networks"][0]["password"]
