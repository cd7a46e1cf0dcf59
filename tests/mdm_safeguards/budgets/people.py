"""Operators as these tests let them act: through the operator API."""

import uuid
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

from tests.signer import Signer


class Person:
    """A signed-in operator."""

    def __init__(self, client: TestClient, operator_id: int, signer: Signer) -> None:
        self.client = client
        self.id = operator_id
        self.signer = signer
        """With a key that the host has pinned."""

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

    def agree(self, asked: Any) -> Response:
        """Agree to a wish to loosen a threshold, with a signature."""
        return self.post(f"/safeguards/threshold-requests/{asked['id']}/approve", self.signer.word(asked))

    def thaw(self) -> Response:
        """Ask to thaw, or sign what somebody else has asked for."""
        wish = self.get("/safeguards/breaker").json()["thaw_request"]
        return self.post("/safeguards/thaw", self.signer.word(wish) if wish else None)


def slug(answer: Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:tabane:problem:")
