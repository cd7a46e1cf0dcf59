"""A district of two schools and operators who are signed in."""

import pytest
from starlette.testclient import TestClient

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role, Scope, credentials
from mdm.auth.models import Operator, OperatorSchool
from mdm.organization.models import School


@pytest.fixture
def schools(session):
    rows = [School(code=code, name=f"School {code}") for code in ("E1", "E2")]
    session.add_all(rows)
    session.commit()
    return {row.code: row.id for row in rows}


@pytest.fixture
def api(schools):
    """Return a signed-in client of a new operator: `api("boss")`, `api("hana", school="E1")`."""
    opened = []

    def sign_in(name, role=Role.ADMINISTRATOR, school=None):
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


ALL = Scope(all_schools=True)
