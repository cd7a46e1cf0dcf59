"""A house whose trail has its witnesses, and the hand of whoever owns the database."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mdm import db, settings
from mdm.app import operator_app
from mdm.audit import chain, events
from mdm.auth import Role, credentials
from mdm.auth.models import Operator
from mdm.cli import build, keep
from tests import tampering
from tests.serving import serving


@pytest.fixture
def evidence(database, tmp_path, monkeypatch) -> Path:
    """The folder of the witness, the checkpoints and their key, as `tabane up` makes it."""
    for name, value in keep.audit_files(tmp_path).items():
        monkeypatch.setenv(name, value)
    settings.get_settings.cache_clear()
    return tmp_path / "audit"


@pytest.fixture
def write(database):
    """Record acts, each in a transaction of its own."""

    def run(count: int) -> None:
        for number in range(count):
            with db.transaction() as session:
                details = {"number": number, "text": "束ね", "in": [1, {}]}
                chain.record(session, "host", "thing.do", f"thing:{number}", details)

    return run


@pytest.fixture
def tamper(database):
    """Run SQL past the triggers."""
    return tampering.tamper


@pytest.fixture
def rechain(database):
    """Give all events the digests, numbers and links that they would have, as far as that goes without the key."""

    def run(*, sealed: bool = True) -> None:
        with db.transaction() as session:
            links = list(chain.walk(session))
        previous = events.GENESIS
        with db.engine().begin() as connection:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            connection.exec_driver_sql("UPDATE audit_event SET sequence = NULL, digest = int8send(id)")
            for place, link in enumerate(links, 1):
                made = events.Link(
                    id=link.id,
                    at=link.at,
                    actor=link.actor,
                    action=link.action,
                    subject=link.subject,
                    details=link.details,
                    previous=previous,
                    digest=b"",
                    sequence=place if sealed else None,
                    key_id=link.key_id if sealed else None,
                )
                previous = events.digest_of(made)
                connection.exec_driver_sql(
                    "UPDATE audit_event SET previous = %s, digest = %s, sequence = %s, key_id = %s, mac = %s"
                    " WHERE id = %s",
                    (made.previous, previous, made.sequence, made.key_id, link.mac if sealed else None, link.id),
                )

    return run


@pytest.fixture
def auditor(database) -> str:
    """The session of an auditor, the operator `kansa`."""
    with db.transaction() as session:
        operator = Operator(name="kansa", password_hash="", role=Role.AUDITOR, all_schools=True)
        session.add(operator)
        session.flush()
        return credentials.open_session(session, operator.id).secret


@pytest.fixture
def tabane(evidence, auditor, monkeypatch):
    """Run `tabane audit …` as that auditor against a served API."""
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", auditor)
        yield lambda *words: CliRunner().invoke(build("audit"), ["audit", *map(str, words)], prog_name="tabane")
