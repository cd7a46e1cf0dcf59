"""Operators as these tests let them act: through the operator API."""

import uuid
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient


class Person:
    """A signed-in operator."""

    def __init__(self, client: TestClient, operator_id: int) -> None:
        self.client = client
        self.id = operator_id

    def get(self, path: str, **params: Any) -> Response:
        return self.client.get(f"/api/v1{path}", params=params)

    def post(self, path: str, body: Any = None) -> Response:
        return self.client.post(f"/api/v1{path}", json=body, headers={"Idempotency-Key": uuid.uuid4().hex})

    def put(self, path: str, body: Any) -> Response:
        return self.client.put(f"/api/v1{path}", json=body)

    def ask(self, kind: str, *device_ids: int, **arguments: Any) -> Response:
        """Ask one thing of some tablets, with a reason."""
        body = {"kind": kind, "arguments": arguments, "reason": "because", "device_ids": device_ids}
        return self.post("/commands", body)

    def wipe(self, device_id: int) -> Response:
        return self.post(f"/devices/{device_id}/commands", {"kind": "wipe", "reason": "stolen"})


def slug(answer: Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:tabane:problem:")
