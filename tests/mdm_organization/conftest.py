"""Contractors of an invented board, and people who are signed in."""

from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role, Scope, credentials
from mdm.auth.entitlement import today
from mdm.operators import accounts

PASSWORD = "a long enough password"


def day(offset: int) -> str:
    return (today() + timedelta(days=offset)).isoformat()


class Board:
    """The board's administrator at the API, and what it takes to let contractors in."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def ask(self, method, path, body=None, status=None, **params):
        answer = self.client.request(method, f"/api/v1{path}", json=body, params=params)
        assert status is None or answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def organization(self, name, under=None, **more):
        body = {"name": name, **more}
        if under is not None:
            body |= {"parent_id": under, "consent": {"document": "consent 1", "on": "2026-03-01"}}
        return self.ask("POST", "/organizations", body, 201)["id"]

    def contract(self, organization, *duties, since=-10, until=300, **more):
        body = {"starts_on": day(since), "ends_on": day(until), "duties": duties, "document": "file 1", **more}
        return self.ask("POST", f"/organizations/{organization}/contracts", body, 201)["contracts"][-1]["id"]

    def handler(self, organization, label, *duties, **more):
        notice = {"document": "pledge 1", "on": day(-5)}
        body = {"label": label, "name": f"架空 {label}", "duties": duties, "valid_from": day(-5), "notice": notice}
        return self.ask("POST", f"/organizations/{organization}/handlers", body | more, 201)["id"]

    def account(self, name, role, handler, status=201):
        body = {"name": name, "password": PASSWORD, "role": role, "all_schools": True, "handler_id": handler}
        return self.ask("POST", "/operators", body, status)

    def client_of(self, name, *, token=False):
        """Return a client of somebody who is signed in on the host, or who has a token."""
        with db.transaction() as session:
            operator = session.get_one(accounts.Operator, self.ids()[name])
            if token:
                issued = credentials.create_token(session, operator.id, label="t", lifetime=timedelta(days=80))
            else:
                issued = credentials.open_session(session, operator.id)
        return TestClient(self.client.app, headers={"Authorization": f"Bearer {issued.secret}"})

    def ids(self):
        return {each["name"]: each["id"] for each in self.ask("GET", "/operators", status=200)["items"]}


@pytest.fixture
def board(database: str):
    with db.transaction() as session:
        scope = Scope(all_schools=True)
        boss = accounts.add(
            session, "host", name="boss", password=PASSWORD, role=Role.ADMINISTRATOR, scope=scope, founding=True
        )
        secret = credentials.open_session(session, boss.id).secret
    with TestClient(operator_app(), headers={"Authorization": f"Bearer {secret}"}) as client:
        yield Board(client)
