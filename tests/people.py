"""Operators who are signed in, for as long as a test wants them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from starlette.testclient import TestClient

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role, credentials
from mdm.auth.models import Operator, OperatorSchool


@contextmanager
def signing_in(schools: Mapping[str, int]) -> Iterator[Callable[..., TestClient]]:
    """Yield what makes an operator and returns its client: `sign_in("boss")`, `sign_in("hana", school="E1")`."""
    opened = []

    def sign_in(name: str, role: Role = Role.ADMINISTRATOR, school: str | None = None) -> TestClient:
        with db.transaction() as own:
            operator = Operator(name=name, password_hash="", role=role, all_schools=school is None)
            own.add(operator)
            own.flush()
            if school is not None:
                own.add(OperatorSchool(operator_id=operator.id, school_id=schools[school]))
            secret = credentials.open_session(own, operator.id).secret
        client = TestClient(operator_app(), headers={"Authorization": f"Bearer {secret}"})
        opened.append(client)
        return client

    yield sign_in
    for client in opened:
        client.close()
