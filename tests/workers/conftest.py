"""A small fleet in the database and a push service that journals, for the tests of the workers."""

import os
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from mdm import settings as mdm_settings
from mdm import vault
from mdm.apple import transport
from mdm.devices import wakeups
from mdm.devices.models import Lane
from simulator.clouds.apns import ApnsCloud, serving
from simulator.clouds.pki import make_push_pki
from workers import dealing, dispatch


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    made = make_push_pki(tmp_path_factory.mktemp("pki"))
    made.push_certificate.write_text(made.push_certificate.read_text() + made.push_key.read_text())
    return made


@pytest.fixture
def cloud(pki):
    with serving(ApnsCloud(pki)) as running:
        yield running


def _forget():
    mdm_settings.get_settings.cache_clear()
    if dispatch.throttle.cache_info().currsize:
        dispatch.throttle().close()
    dispatch.throttle.cache_clear()
    transport.close()
    dispatch.last_drained.clear()
    dispatch._strikes.clear()
    dealing.forget()


@pytest.fixture
def configure(database, valkey, cloud, pki, monkeypatch):
    """Point this process, and those it starts, at the journalling push service; limits off unless set."""

    def set_(**limits):
        free = {"fleet_per_s": 0, "provider_per_s": 0, "school_per_s": 0, "device_per_s": 0, "urgent_per_s": 0}
        for name, value in (free | limits).items():
            monkeypatch.setenv(f"TABANE_THROTTLE__{name.upper()}", str(value))
        monkeypatch.setenv("TABANE_APPLE__APNS_URL", cloud.url)
        monkeypatch.setenv("TABANE_APPLE__APNS_CA_FILE", str(pki.authority))
        monkeypatch.setenv("TABANE_APPLE__PUSH_CERTIFICATE", str(pki.push_certificate))
        _forget()

    set_()
    yield set_
    _forget()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "worker.log"


@dataclass
class Fleet:
    """Tablets by device id, with their push tokens in hex."""

    tokens: dict[int, str]

    @property
    def ids(self):
        return list(self.tokens)


@pytest.fixture
def fleet(session, configure, pki):
    """Make `count` enrolled tablets over `schools` schools."""

    def make(count, schools=1):
        school_ids = [
            session.execute(
                text("INSERT INTO school (code, name) VALUES (:code, :code) RETURNING id"), {"code": f"S{number}"}
            ).scalar_one()
            for number in range(schools)
        ]
        rows = session.execute(
            text(
                "INSERT INTO device (control_number, serial, platform, model, school_id, state, lease_contract)"
                " SELECT 'C' || n, 'SER' || n, 'apple', 'iPad',"
                " (CAST(:schools AS bigint[]))[1 + n % :schools_n], 'issued', ''"
                " FROM generate_series(1, :count) n RETURNING id"
            ),
            {"schools": school_ids, "schools_n": schools, "count": count},
        )
        ids = [row.id for row in rows]
        tokens = {device_id: os.urandom(32) for device_id in ids}
        session.execute(
            text(
                "INSERT INTO enrollment (device_id, status, epoch, udid, topic, push_token, push_magic, token_at)"
                " VALUES (:id, 'active', 1, :udid, :topic, :token, :magic, now() - interval '1 hour')"
            ),
            [
                {
                    "id": device_id,
                    "udid": f"UDID-{device_id}",
                    "topic": pki.topic,
                    "token": token,
                    "magic": vault.seal("enrollment.push_magic", f"magic-{device_id}".encode()),
                }
                for device_id, token in tokens.items()
            ],
        )
        session.commit()
        return Fleet({device_id: token.hex() for device_id, token in tokens.items()})

    return make


@pytest.fixture
def due(session):
    """Make tablets due."""

    def make(ids, lane=Lane.NORMAL):
        wakeups.mark_due(session, ids, lane)
        session.commit()

    return make


@pytest.fixture
def row(session):
    """One wake-up row as a dictionary with `in_s` (seconds until due), or None."""

    def read(device_id):
        session.rollback()
        found = session.execute(
            text("SELECT *, extract(epoch FROM due_at - now())::float8 AS in_s FROM wakeup WHERE device_id = :id"),
            {"id": device_id},
        ).first()
        return None if found is None else dict(found._mapping)

    return read
