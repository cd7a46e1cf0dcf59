"""People who sign in at the operator API, with what they hold: an app that shows codes, security keys in software."""

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlmodel import select
from starlette.testclient import TestClient

from mdm import db
from mdm.audit.models import AuditEvent
from simulator.authenticator import SoftwareAuthenticator

PASSWORD = "correct horse battery"
ORIGIN = "http://tabane.example"


class Clock:
    """The clock of the process, moved by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def move(self, **by: float) -> None:
        self.ahead += timedelta(**by)


@dataclass
class App:
    """A telephone's app that shows codes: it shares nothing with the server but the secret it was shown."""

    secret: str
    clock: Clock

    def code(self, steps: int = 0) -> str:
        plain = base64.b32decode(self.secret + "=" * (-len(self.secret) % 8))
        moment = int(self.clock.now().timestamp()) + 30 * steps
        return TOTP(plain, 6, SHA1(), 30).generate(moment).decode()


@dataclass
class Person:
    """Somebody with a browserless client: `ask` sends with the session that the last answer gave."""

    client: TestClient
    name: str
    clock: Clock
    secret: str = ""
    app: App | None = None
    recovery_codes: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, **options):
        headers = options.pop("headers", {}) | ({"Authorization": f"Bearer {self.secret}"} if self.secret else {})
        answer = self.client.request(method, f"/api/v1{path}", headers=headers, **options)
        if answer.is_success and answer.content and isinstance(answer.json(), dict):
            self.secret = answer.json().get("token") or self.secret
        return answer

    def sign_in(self, **more):
        body = {"name": self.name, "password": PASSWORD, "bearer": True, **more}
        self.secret = ""
        return self.ask("POST", "/session", json=body)

    def set_up_app(self):
        self.app = App(self.ask("POST", "/session/factors/totp").json()["secret"], self.clock)
        answer = self.ask("POST", "/session/factors/totp/confirm", json={"code": self.app.code()})
        assert answer.status_code == 200, answer.text
        self.recovery_codes = answer.json()["recovery_codes"] or self.recovery_codes
        self.clock.move(seconds=30)
        return answer

    def add_key(self, key: SoftwareAuthenticator, label: str = "blue"):
        offered = self.ask("POST", "/session/factors/keys/options").json()
        said = key.create(offered["options"]["challenge"])["response"]
        body = {
            "ceremony": offered["ceremony"],
            "client_data_json": said["clientDataJSON"],
            "attestation_object": said["attestationObject"],
            "label": label,
        }
        return self.ask("POST", "/session/factors/keys", json=body)


def answered(key: SoftwareAuthenticator, question: dict) -> dict:
    """Return the API's form of a key's answer to a question of the API."""
    said = key.get(question["options"]["challenge"])
    response = said["response"]
    return {
        "ceremony": question["ceremony"],
        "credential_id": said["id"],
        "client_data_json": response["clientDataJSON"],
        "authenticator_data": response["authenticatorData"],
        "signature": response["signature"],
    }


def new_key(**more) -> SoftwareAuthenticator:
    return SoftwareAuthenticator(**{"origin": ORIGIN, "rp_id": "tabane.example", **more})


def slug(answer) -> str:
    return answer.json()["type"].removeprefix("urn:tabane:problem:")


def trail() -> list[AuditEvent]:
    with db.transaction() as session:
        return list(session.exec(select(AuditEvent).order_by(AuditEvent.id)))
