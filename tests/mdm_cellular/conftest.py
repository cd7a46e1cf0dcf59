"""A district of two schools with tablets, one carrier account, operators who are signed in, and invented numbers."""

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient
from stdnum import luhn

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role, credentials
from mdm.auth.models import Operator, OperatorSchool
from tests.mdm_cellular.pretended import pretending


def iccid(number: int) -> str:
    """Return an invented ICCID of 19 digits with its check digit."""
    core = f"898199{number:012d}"
    return core + luhn.calc_check_digit(core)


def imsi(number: int) -> str:
    """Return an invented IMSI of a Japanese network that does not exist."""
    return f"44099{number:010d}"


def line(number: int, control: str = "", **cells: str) -> dict[str, str]:
    """Return the cells of one line of a SIM file."""
    return {
        "iccid": iccid(number),
        "imsi": imsi(number),
        "msisdn": f"0200{number:010d}",
        "plan": "7gb",
        "control_number": control,
    } | cells


def csv_of(*lines: dict[str, str]) -> str:
    """Return a SIM file."""
    columns = list(dict.fromkeys(column for each in lines for column in each))
    rows = [",".join(each.get(column, "") for column in columns) for each in lines]
    return "\r\n".join([",".join(columns), *rows, ""])


@pytest.fixture
def sql(database):
    """Run one statement and return its rows."""

    def run(statement, **parameters):
        with db.engine().begin() as connection:
            found = connection.execute(text(statement), parameters)
            return [tuple(row) for row in found] if found.returns_rows else []

    return run


@pytest.fixture
def district(sql):
    """Six tablets: T1 to T4 in school E1, T5 and T6 in E2; return their ids by control number."""
    sql("INSERT INTO school (code, name) VALUES ('E1', 'School E1'), ('E2', 'School E2')")
    sql(
        "INSERT INTO device (control_number, serial, platform, model, school_id, lease_contract, state)"
        " SELECT 'T' || n, 'SERIAL' || n, 'apple', '', (SELECT id FROM school WHERE code = 'E' || (n / 5 + 1)), '',"
        " 'issued' FROM generate_series(1, 6) n"
    )
    return dict(sql("SELECT control_number, id FROM device"))


@pytest.fixture
def sign_in(district, sql):
    """Return a signed-in client of a new operator: `sign_in("boss")`, `sign_in("hana", Role.SUPPORT, "E1")`."""
    opened = []

    def signed_in(name, role=Role.ADMINISTRATOR, *codes):
        with db.transaction() as own:
            operator = Operator(name=name, password_hash="", role=role, all_schools=not codes)
            own.add(operator)
            own.flush()
            for code in codes:
                [(school,)] = sql("SELECT id FROM school WHERE code = :code", code=code)
                own.add(OperatorSchool(operator_id=operator.id, school_id=school))
            secret = credentials.open_session(own, operator.id).secret
        client = TestClient(
            operator_app(), base_url="http://testserver/api/v1/", headers={"Authorization": f"Bearer {secret}"}
        )
        opened.append(client)
        return client

    yield signed_in
    for client in opened:
        client.close()


@pytest.fixture
def boss(sign_in):
    """An administrator of all schools, with the account `files-1`, whose figures come in files."""
    client = sign_in("boss")
    answer = client.post("carriers/accounts", json={"name": "files-1", "kind": "csv"})
    assert answer.status_code == 201, answer.text
    return client


@pytest.fixture
def upload(boss):
    """Import a SIM file into `files-1` and return the answer."""

    def send(content, client=boss, account="files-1", **params):
        body = content.encode() if isinstance(content, str) else content
        headers = {"Content-Type": "text/csv"}
        return client.post("sims/imports", content=body, headers=headers, params={"account": account, **params})

    return send


@pytest.fixture
def sims(boss, upload):
    """SIMs 1 to 4, the first three in T1 to T3; return their ids by number."""
    answer = upload(csv_of(line(1, "T1"), line(2, "T2"), line(3, "T3"), line(4)))
    assert answer.status_code == 200, answer.text
    found = {sim["iccid"]: sim["id"] for sim in boss.get("sims").json()["items"]}
    return {number: found[iccid(number)] for number in range(1, 5)}


def audited(sql) -> list[tuple[str, str, dict]]:
    """Return what is on record, but for looks."""
    rows = sql("SELECT action, subject, details FROM audit_event ORDER BY id")
    return [row for row in rows if not row[0].endswith((".list", ".read"))]


@pytest.fixture
def air(boss, valkey, tmp_path, monkeypatch):
    """A pretended SORACOM with five lines behind the account `air`."""
    with pretending(boss, tmp_path, monkeypatch) as pretended:
        yield pretended
