"""A district of two schools and operators who are signed in."""

import pytest

from mdm.auth import Scope
from mdm.organization.models import School
from tests.people import signing_in


@pytest.fixture
def schools(session):
    rows = [School(code=code, name=f"School {code}") for code in ("E1", "E2")]
    session.add_all(rows)
    session.commit()
    return {row.code: row.id for row in rows}


@pytest.fixture
def api(schools):
    """Return a signed-in client of a new operator: `api("boss")`, `api("hana", school="E1")`."""
    with signing_in(schools) as sign_in:
        yield sign_in


ALL = Scope(all_schools=True)
