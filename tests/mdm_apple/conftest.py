"""A door on real PostgreSQL, and a district around it."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from mdm import app
from tests.mdm_apple.district import PROXY, District


@pytest.fixture
def client(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The device app, seen from a proxy whose Client-Cert is believed."""
    monkeypatch.setenv("TABANE_APPLE__CLIENT_CERT_PROXIES", f'["{PROXY}/32"]')
    with TestClient(app.device_app(), client=(PROXY, 50000), raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def district(database: str, client: TestClient) -> Iterator[District]:
    """A district with one school and a CA."""
    made = District(database, client)
    yield made
    made.connection.close()
