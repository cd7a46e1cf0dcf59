"""Every route by every role, in the own school and the other: exactly what the table of rights says, and nothing else.

The routes are read off the app and the bodies off its document, so that a new route is walked without a line here. A
line is needed where the example of its body cannot be right (`BODIES`), or its rule takes all schools (`DISTRICT`).
"""

import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from mdm import clock
from mdm.app import OPEN_ROUTES, operator_app
from mdm.auth import Action, CredentialKind, Role
from mdm.auth.guards import UnguardedRoute, actions_of_routes, refuse_unguarded
from mdm.auth.rights import RIGHTS, allowed
from mdm.commands.kinds import FACTS, Kind
from tests.mdm_auth import places
from tests.mdm_auth.places import Place

BODIES: dict[str, Callable[[Place, Role], Any]] = {
    "askDevice": lambda _place, role: {"kind": _kind_for(role), "reason": "r"},
    "askDevices": lambda place, role: {"kind": _kind_for(role), "reason": "r", "serials": [place.marker]},
    "openTicket": lambda place, _role: {"serial": place.marker},
    "addOperator": lambda place, _role: {
        "name": f"n{uuid.uuid4().hex[:8]}",
        "password": "a long enough password",
        "role": "viewer",
        "schools": [place.names["code"]],
    },
    "changeOperator": lambda _place, _role: {"disabled": False},
    "setLimit": lambda place, _role: {"value": {"per_s": 5}, "school": place.names["code"]},
    "requestException": lambda place, _role: {
        "place": f"serial={place.marker}",
        "set": {"usb": {"external_storage": "allow"}},
        "reason": "r",
        "expires_at": "2100-01-01T00:00:00Z",
    },
    "importCalendars": lambda place, _role: f"school: {place.names['code']}\nclosed: []\n".encode(),
    "importLedger": lambda place, _role: f"control_number,school_code\n{place.marker},{place.names['code']}\n".encode(),
    "importUsage": lambda place, _role: (
        b"iccid,date,bytes\n" + f"898199{int(place.names['device_id']):012d},{clock.now():%Y-%m-%d},5\n".encode()
    ),
    "importSims": lambda place, _role: b"iccid\n" + f"898199{int(place.names['device_id']):012d}\n".encode(),
    "bindSim": lambda place, _role: {"device_id": int(place.names["device_id"]), "reason": "r"},
    "exchangeSims": lambda place, _role: {
        "device_id": int(place.names["device_id"]),
        "other_device_id": int(place.names["device_id"]),
        "reason": "r",
    },
    "movePoolMembers": lambda place, _role: {"sim_ids": [int(place.names["sim_id"])], "reason": "r"},
    "startRollout": lambda place, _role: _rollout(place),
    "estimateRollout": lambda place, _role: _rollout(place),
    "putRing": lambda place, _role: {"places": [f"school={place.names['code']}"]},
    "openCase": lambda place, role: {
        "kind": "lost" if allowed(role, Action.WORK_LOSS) else "broken",
        "serial": place.marker,
        "caller": "guardian",
    },
    "thaw": lambda _place, _role: None,  # as the first of two
    "planPolicies": lambda place, _role: {"documents": [_policy(place)]},
    "applyPolicies": lambda place, _role: {"documents": [_policy(place)]},
}
"""Bodies that the document's examples cannot give, because they name something."""
QUERIES: dict[str, Callable[[Place], str]] = {
    "serial": lambda place: place.marker,
    "account": lambda place: place.names["carriers.name"],
    "since": lambda _place: "2026-04-01T00:00:00Z",
    "until": lambda _place: "2026-05-01T00:00:00Z",
}
"""Query parameters that are required."""
DISTRICT_ACTIONS = {(Action.READ_AUDIT,), (Action.MANAGE_ORGANIZATIONS,)}
DISTRICT = {
    "setCalendar",
    "dropCalendar",
    "putRing",
    "dropRing",
    "approveException",
    "approveThreshold",
    "rejectThreshold",
    "thaw",
    "importSims",
    "importUsage",
    "addCarrierAccount",
    "changeCarrierAccount",
    "addPlan",
    "setPlanTerms",
    "addPool",
    "movePoolMembers",
    "buyPoolExtra",
    "poolUsage",
    "scoreForecasts",
    "backtestForecasts",
    "addUsageRule",
    "setUsageRule",
}
"""What holds for every school: it also takes a scope of all schools, and is refused to whoever is confined to one."""


OTHERWISE = {"changePassword": "the present password is wrong"}
"""What is refused for a reason that no right helps against."""
ALSO = {"cancelCommand": {Action.REQUEST_WIPE}}
"""What the thing in the path takes beside the route's own action: the command that waits there is a wipe."""


class Call(NamedTuple):
    """One operation of the document, with the actions of which one opens it."""

    method: str
    path: str
    name: str
    actions: tuple[Action, ...]
    operation: dict[str, Any]
    example: Any


def _kind_for(role: Role) -> str:
    """Return a kind of command that this role may ask for; a lock where it may ask for none."""
    return next((kind for kind in (Kind.RESTART, Kind.PLAY_SOUND) if allowed(role, FACTS[kind].action)), "lock")


def _policy(place: Place) -> dict[str, Any]:
    return {"version": 1, "name": place.marker.lower(), "layer": {"school": place.names["code"]}}


def _rollout(place: Place) -> dict[str, Any]:
    return {"policy": place.marker.lower(), "target": f"school={place.names['code']}"}


@pytest.fixture
def calls(client: TestClient) -> list[Call]:
    document = client.app.openapi()
    schemas = document["components"]["schemas"]
    found = []
    for (method, path), actions in actions_of_routes(client.app).items():
        if (method, path) in OPEN_ROUTES or path not in document["paths"]:
            continue
        operation = document["paths"][path][method.lower()]
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        schema = schemas.get(content.get("schema", {}).get("$ref", "").rsplit("/", 1)[-1], {})
        example = schema.get("examples", [{}])[0]
        found.append(Call(method, path, operation["operationId"], actions, operation, example))
    assert len(found) > 60
    return found


def _ask(client: TestClient, call: Call, place: Place, role: Role, headers: dict[str, str]) -> Any:
    places.thaw()  # one of the calls is the red button
    body = BODIES[call.name](place, role) if call.name in BODIES else call.example
    query = {
        each["name"]: QUERIES[each["name"]](place)
        for each in call.operation.get("parameters", [])
        if each["in"] == "query" and each.get("required")
    }
    given = {"Idempotency-Key": uuid.uuid4().hex, **headers}
    sent = {} if call.method in ("GET", "DELETE") else {"content": body} if isinstance(body, bytes) else {"json": body}
    return client.request(call.method, place.url(call.path), params=query, headers=given, **sent)


def _says(call: Call, place: Place, role: Role) -> bool:
    """Say whether the request itself names the school or what is its own, so that an answer may repeat it."""
    body = BODIES[call.name](place, role) if call.name in BODIES else ""
    return place.marker.lower() in f"{place.url(call.path)} {body} {call.operation.get('parameters')}".lower() or any(
        each["name"] in QUERIES for each in call.operation.get("parameters", [])
    )


def _refused(answer: Any) -> bool:
    """Say whether the table refused: it says so, and names the action. Other reasons of a 403 have other words."""
    return answer.status_code == 403 and "may not do this" in answer.json()["detail"]


def _proof_is_missing(answer: Any) -> bool:
    """Say whether it is a proof that lacks, such as a fresh sign-in or a second person; it has a slug of its own."""
    return answer.status_code == 403 and not answer.json()["type"].endswith(":forbidden")


def _open_to(call: Call, role: Role, *, there: bool = True) -> bool:
    also = not there or all(allowed(role, action) for action in ALSO.get(call.name, ()))
    return also and any(allowed(role, action) for action in call.actions)


@pytest.mark.timeout(600)
def test_the_whole_table_in_all_schools(client, calls):
    """With a scope of all schools a route opens exactly to the roles that the table gives its action."""
    own, _ = places.plant(client)
    wrong = []
    for role in Role:
        operator = places.add_operator(f"a-{role.value}", role)
        for call in calls:
            answer = _ask(client, call, own, role, places.sign_in(operator))
            right = not _refused(answer) if _open_to(call, role) else _refused(answer)
            if not right or answer.status_code == 401 or answer.status_code >= 500:
                wrong.append((role.value, call.name, answer.status_code, answer.text[:200]))
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.timeout(600)
def test_the_whole_table_in_two_schools(client, calls):
    """Whoever is confined to one school is refused by the table alike; the other school does not exist for it."""
    own, other = places.plant(client)
    wrong = []
    for role in Role:
        operator = places.add_operator(f"b-{role.value}", role, own.school_id)
        for call in calls:
            for place in (other, own):
                answer = _ask(client, call, place, role, places.sign_in(operator))
                status, text = answer.status_code, answer.text
                if not _open_to(call, role, there=place is own):
                    right = _refused(answer)
                elif call.name in OTHERWISE:
                    right = answer.json()["detail"] == OTHERWISE[call.name]
                elif call.name in DISTRICT or call.actions in DISTRICT_ACTIONS:
                    right = status == 403 and not _refused(answer)
                elif place is other and other.names_all_of(call.path):
                    right = status == 404
                else:
                    right = status not in (401, 403) or _proof_is_missing(answer)
                told = text.lower()
                leaks = other.secret.lower() in told or (other.marker.lower() in told and not _says(call, place, role))
                if not right or leaks or status >= 500:
                    wrong.append((role.value, call.name, place.marker, status, text[:300]))
    assert not wrong, "\n".join(map(str, wrong))


def test_tokens(client, calls):
    """A token does what its owner may, except what takes a person."""
    own, _ = places.plant(client)
    operator = places.add_operator("c", Role.ADMINISTRATOR)
    wrong = []
    for call in calls:
        answer = _ask(client, call, own, Role.ADMINISTRATOR, places.sign_in(operator, CredentialKind.TOKEN))
        takes_a_person = all(RIGHTS[action].person for action in call.actions)
        by_hand = answer.status_code == 403 and "an API token may not do this" in answer.json()["detail"]
        if by_hand != takes_a_person:
            wrong.append((call.name, answer.status_code, answer.text[:200]))
    assert not wrong, "\n".join(map(str, wrong))


def test_every_action_has_a_row():
    """An action without a row would be nobody's; one that no role has would be dead."""
    assert set(RIGHTS) == set(Action)
    assert all(right.roles for right in RIGHTS.values())


def test_an_app_with_an_unguarded_route_does_not_start(database):
    """A route that names no action keeps the app from starting, also behind a router and in a folder of files."""
    app = operator_app()
    assert set(OPEN_ROUTES) <= set(actions_of_routes(app))
    app.add_api_route("/api/v1/forgotten/{name}", lambda name: name, methods=["GET", "POST"])
    app.mount("/files", app)
    with pytest.raises(UnguardedRoute, match=r"\* /files, GET /api/v1/forgotten/\{name\}, POST /api/v1/forgotten"):
        refuse_unguarded(app, OPEN_ROUTES)
