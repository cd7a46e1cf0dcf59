"""Two schools with one of everything that the API can name, for tests that walk all routes.

Each school writes its marker into whatever it can be named by, and its secret into all else, so that an answer which
tells of it shows. A new route whose path names something new takes one line in `_plant`; without it, the route is asked
for what is not there.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from starlette.testclient import TestClient

from mdm import db, vault
from mdm.auth import CredentialKind, Role, credentials
from mdm.auth.models import Operator, OperatorSchool
from mdm.commands import queue
from mdm.commands.kinds import Kind
from mdm.safeguards import breaker
from tests.budgets import NO_BUDGETS

OWN, OTHER = ("QUAGGA", "OKAPI"), ("ZEBRA", "HYENA")
"""Markers and secrets: of the school in scope, and of the one that does not exist for whoever is confined to it."""


@dataclass(frozen=True)
class Place:
    """A school and what of it can be named in a path or a body."""

    marker: str
    """In serial, control number, user id, codes and names of policies: what a caller may know and say."""
    secret: str
    """In names, models, reasons: what only an answer can tell."""
    school_id: int
    names: Mapping[str, str]
    """Values of path parameters, by name or, where one name means several things, by `collection.name`."""

    def url(self, path: str) -> str:
        collection = path.split("/")[3]

        def value(found: re.Match[str]) -> str:
            name = found[1]
            known = self.names.get(f"{collection}.{name}", self.names.get(name))
            return known or (str(uuid.UUID(int=7)) if name.endswith("_id") else "nothing")

        return re.sub(r"\{([^}]+)\}", value, path)

    def names_all_of(self, path: str) -> bool:
        """Say whether the path names something that is this school's alone."""
        collection = path.split("/")[3]
        shared = {"limits", "rings", "carriers", "plans", "pools", "organizations"}
        given = re.findall(r"\{([^}]+)\}", path)
        mine = [name for name in given if name in self.names or f"{collection}.{name}" in self.names]
        return bool(given) and given == mine and collection not in shared


def add_operator(name: str, role: Role, *school_ids: int) -> int:
    """Make an operator of these schools, or of all when none is given."""
    with db.transaction() as session:
        operator = Operator(name=name, password_hash="", role=role, all_schools=not school_ids, made_on_host=True)
        session.add(operator)
        session.flush()
        session.add_all(OperatorSchool(operator_id=operator.id, school_id=each) for each in school_ids)
        return operator.id


def sign_in(operator_id: int, kind: CredentialKind = CredentialKind.SESSION) -> dict[str, str]:
    """Open a session, or make a token, and return the header that presents it."""
    with db.transaction() as session:
        if kind is CredentialKind.SESSION:
            issued = credentials.open_session(session, operator_id)
        else:
            issued = credentials.create_token(session, operator_id, label="t", lifetime=timedelta(days=1))
        return {"Authorization": f"Bearer {issued.secret}"}


def plant(client: TestClient) -> tuple[Place, Place]:
    """Fill two schools; return the own one and the other. Budgets are wide: only rights are looked at here."""
    with db.engine().begin() as connection:
        connection.exec_driver_sql(NO_BUDGETS)
    return _plant(client, *OWN), _plant(client, *OTHER)


def thaw() -> None:
    """Close the breaker, whoever opened it."""
    with db.transaction() as session:
        if breaker.frozen(session):
            session.connection().exec_driver_sql(
                "INSERT INTO breaker_event (what, actor, detail) VALUES ('thawed', 'host', '')"
            )


def _plant(client: TestClient, marker: str, secret: str) -> Place:
    code, school_id, device_id = f"{marker}1", 0, 0
    with db.engine().begin() as connection:
        run = connection.exec_driver_sql
        school_id = run("INSERT INTO school (code, name) VALUES (%s, %s) RETURNING id", (code, secret)).scalar_one()
        run("INSERT INTO school_class (school_id, year, name) VALUES (%s, 1, %s)", (school_id, secret))
        holder_id = run(
            "INSERT INTO holder (school_id, user_id, name_sealed) VALUES (%s, %s, %s) RETURNING id",
            (school_id, marker, vault.seal("holder.name", secret.encode())),
        ).scalar_one()
        device_id = run(
            "INSERT INTO device (control_number, serial, platform, model, school_id, holder_id, lease_contract, state)"
            " VALUES (%s, %s, 'apple', %s, %s, %s, %s, 'issued') RETURNING id",
            (marker, marker, secret, school_id, holder_id, secret),
        ).scalar_one()
        run(
            "INSERT INTO enrollment (device_id, status, epoch, udid, supervised, lost_mode)"
            " VALUES (%s, 'active', 1, %s, true, true)",
            (device_id, marker),
        )
    local = add_operator(secret.lower(), Role.SUPPORT, school_id)
    boss = add_operator(f"boss-{school_id}", Role.ADMINISTRATOR)
    names = {"device_id": device_id, "code": code, "serial": marker, "operator_id": local, "number": 1}
    names |= _commands(local, device_id, secret) | _line(device_id, secret)
    headers = sign_in(boss)

    def make(method: str, path: str, body: Any) -> Any:
        given = {"Idempotency-Key": uuid.uuid4().hex, **headers}
        answer = client.request(method, f"/api/v1{path}", json=body, headers=given)
        assert answer.status_code < 300, (path, answer.text)
        return answer.json()

    policy = {"version": 1, "name": marker.lower(), "layer": {"school": code}, "usb": {"external_storage": "deny"}}
    make("POST", "/policies", {"documents": [policy]})
    away = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    wish = {"place": f"serial={marker}", "set": {"usb": {"external_storage": "allow"}}, "reason": secret}
    names |= {
        "policies.name": marker.lower(),
        "limits.name": "school",
        "rings.name": f"ring {school_id}",
        "tokens.key": "0" * 16,
        "ticket_id": make("POST", "/tickets", {"serial": marker})["id"],
        "exception_id": make("POST", "/policy-exceptions", wish | {"expires_at": away})["id"],
        "case_id": make("POST", "/cases", {"kind": "lost", "serial": marker, "caller": "guardian"})["id"],
        "rollout_id": make("POST", "/rollouts", {"policy": marker.lower(), "target": f"school={code}"})["id"],
    }
    days = {"first_day": str(date.today()), "last_day": str(date.today() + timedelta(days=9))}  # noqa: DTZ011 - any will do
    names["check_id"] = make("POST", "/checks", {"name": secret, "schools": [code], **days})["id"]
    make("POST", f"/checks/{names['check_id']}/start", None)
    names["campaign_id"] = _campaign(boss, school_id, marker, secret)
    names |= _contractor(make, f"contractor {school_id}")
    make("PUT", f"/rings/ring {school_id}", {"places": [f"school={code}"]})
    make("PUT", "/limits/school", {"value": {"per_s": 7}, "school": code, "reason": secret})
    make("PUT", f"/schools/{code}/calendar", {"closed": [{"first": "2026-08-01", "label": secret}]})
    return Place(marker, secret, school_id, {name: str(value) for name, value in names.items()})


def _campaign(operator_id: int, school_id: int, marker: str, secret: str) -> Any:
    """Write down a bulk wipe of a tablet of the school, which waits for its signatures."""
    window = '{"first_day": "2026-01-01", "last_day": "2026-02-01"}'
    with db.engine().begin() as connection:
        run = connection.exec_driver_sql
        campaign = run(
            'INSERT INTO campaign (name, reason, filter, "window", arguments, tablets, snapshot, digest, left_out,'
            " school_ids, requested_by, expires_at) VALUES (%s, %s, '{}', %s, '{}', 1, 'x', 'x', '[]', %s, %s,"
            " now() + interval '1 day') RETURNING id",
            (secret, secret, window, [school_id], operator_id),
        ).scalar_one()
        run(
            "INSERT INTO campaign_tablet (campaign_id, device_id, serial, control_number, school, epoch, evidence_id,"
            " scanned_at) SELECT %s, id, serial, %s, %s, 1, 1, now() FROM device WHERE school_id = %s",
            (campaign, marker, marker, school_id),
        )
    return campaign


def _contractor(make: Callable[[str, str, Any], Any], name: str) -> dict[str, Any]:
    """Take up a contractor with a contract and a handler, which are every school's."""
    organization = make("POST", "/organizations", {"name": name})["id"]
    path = f"/organizations/{organization}"
    period = {"starts_on": "2026-01-01", "ends_on": "2100-01-01", "duties": ["loss_desk"], "document": "d"}
    contract = make("POST", f"{path}/contracts", period)["contracts"][0]["id"]
    person = {"label": "h", "name": "架空", "duties": ["loss_desk"], "valid_from": "2026-01-01"}
    handler = make("POST", f"{path}/handlers", person)["id"]
    return {"organization_id": organization, "contract_id": contract, "handler_id": handler}


def _commands(operator_id: int, device_id: int, secret: str) -> dict[str, Any]:
    with db.transaction() as session:
        principal = credentials.principal_of(session, session.get_one(Operator, operator_id))
        [wiped] = queue.enqueue(session, principal, [device_id], Kind.WIPE, {}, reason=secret)
        return {"command_id": wiped.command.id, "approval_id": wiped.command.approval_id}


def _line(device_id: int, secret: str) -> dict[str, Any]:
    """Put a SIM into the tablet, with an account, a plan and a pool, which are everybody's."""
    with db.engine().begin() as connection:
        run = connection.exec_driver_sql
        name = f"files-{device_id}"
        account = run("INSERT INTO carrier_account (name, kind) VALUES (%s, 'csv') RETURNING id", (name,)).scalar_one()
        plan = run(
            "INSERT INTO plan (account_id, code, name) VALUES (%s, 'p', 'p') RETURNING id", (account,)
        ).scalar_one()
        pool = run("INSERT INTO plan_pool (account_id, name) VALUES (%s, 'p') RETURNING id", (account,)).scalar_one()
        core = f"898199{device_id:012d}"
        sim = run(
            "INSERT INTO sim (iccid_core, iccid_full, account_id, plan_id, source, carrier_status)"
            " VALUES (%s, %s, %s, %s, 'import', %s) RETURNING id",
            (core, core, account, plan, secret),
        ).scalar_one()
        run(
            "INSERT INTO sim_binding (sim_id, device_id, valid_from, source, reason, bound_by)"
            " VALUES (%s, %s, now(), 'operator', %s, 'x')",
            (sim, device_id, secret),
        )
        rule = run("SELECT min(id) FROM threshold_rule").scalar_one()
        alert = run(
            "INSERT INTO threshold_event (rule_id, scope, scope_id, cycle_start, level, value_bytes, limit_bytes,"
            " action, done) VALUES (%s, 'sim', %s, '2026-01-01', 1, 2, 1, 'restrict', 'waits') RETURNING id",
            (rule, sim),
        ).scalar_one()
    return {"rule_id": rule, "alert_id": alert, "sim_id": sim, "plan_id": plan, "pool_id": pool, "carriers.name": name}
