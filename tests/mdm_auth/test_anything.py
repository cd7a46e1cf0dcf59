"""Whatever is sent by the document's own schemas, from two schools: no server error, and nothing of the other one."""

import os
import uuid
from itertools import product
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from starlette.testclient import TestClient

from mdm.auth import Role
from mdm.auth.guards import actions_of_routes
from tests.mdm_auth import places
from tests.mdm_auth.places import Place

EXAMPLES = int(os.environ.get("TABANE_FUZZ_EXAMPLES", "2"))
"""Requests per operation and school; the gate takes few, and a long run takes what it is given."""
_WHOSE = ("other", "own", "anybody's")


class Walk:
    """Two schools and an administrator of each, who ask for what is theirs, the other's, or nobody's."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.places = places.plant(client)
        make = places.add_operator
        self.operators = [make(f"head-{each.school_id}", Role.ADMINISTRATOR, each.school_id) for each in self.places]
        self.asked = 0
        self.done: set[str] = set()
        """Operations of which a request was fulfilled."""

    def ask(self, case: Any, number: int, whose: str) -> str | None:
        """Send one request as the administrator of school `number`; return what was wrong with the answer."""
        own, other = self.places[number], self.places[1 - number]
        path = self._path(case, {"own": own, "other": other}.get(whose))
        headers = {str(name): str(value) for name, value in (case.headers or {}).items() if str(value).isascii()}
        headers |= {"Idempotency-Key": uuid.uuid4().hex} | places.sign_in(self.operators[number])
        sent = {} if isinstance(case.body, schemathesis.core.NotSet) else {"json": case.body}
        answer = self.client.request(case.method, path, params=case.query or {}, headers=headers, **sent)
        self.asked += 1
        if answer.status_code < 300:
            self.done.add(case.operation.label)
        places.thaw()  # one of the operations is the red button
        told = answer.text.lower()
        said = f"{path} {case.query} {case.body}".lower()
        if answer.status_code >= 500 and not answer.json()["type"].endswith(":misconfigured"):
            return f"{answer.status_code} {answer.text[:200]}"
        if other.secret.lower() in told or (other.marker.lower() in told and other.marker.lower() not in said):
            return f"tells of the other school: {answer.text[:300]}"
        return None

    def _path(self, case: Any, place: Place | None) -> str:
        path = case.formatted_path
        whole = path.isascii() and not set("?#") & set(path)
        return path if place is None and whole else (place or self.places[0]).url(case.operation.path)

    def operate(self, operation: Any) -> list[str]:
        """Send what the schemas make for one operation, from both schools; return what was wrong."""
        wrong: list[str] = []

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            phases=[Phase.generate],
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            for number, whose in product((0, 1), _WHOSE if "{" in operation.path else _WHOSE[:1]):
                found = self.ask(case, number, whose)
                wrong.extend([f"{operation.label} ({whose}): {found}"] if found else [])

        send()
        return wrong


@pytest.mark.timeout(900)
def test_anything_is_answered_and_tells_nothing_of_another_school(client):
    """Requests made from the schemas, with ids of the own school, of the other and of nothing, in every operation."""
    walk = Walk(client)
    document = schemathesis.openapi.from_dict(client.app.openapi())
    guarded = {(path, method) for (method, path), actions in actions_of_routes(client.app).items() if actions}
    operations = [each.ok() for each in document.get_all_operations()]
    operations = [each for each in operations if (each.path, each.method.upper()) in guarded]
    wrong = [line for operation in operations for line in walk.operate(operation)]
    assert not wrong, "\n".join(wrong)
    assert walk.asked >= 2 * len(operations) > 300
    assert len(walk.done) > len(operations) / 3
