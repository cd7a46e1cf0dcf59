"""Manifests per second: from policies, exceptions and the ledger to what each tablet should hold. Prints ratios.

15,000 tablets of 40 schools and 200 classes on five versions of iPadOS. The fleet, each school and each class have a
policy; 60 exceptions hold. `manifests_per_s` = different manifests, divided by the time in which a fresh process
computes and stores them all, sets them for every tablet and makes the tablets due; `manifests_all_s` is that time.
`incremental_vs_full` = that time divided by the time that the same process then needs for a change of one class's
policy: how much is gained because only the chains it touches are compiled again, which is checked.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import yaml
from sqlalchemy import text
from sqlmodel import Session

from mdm import db, settings, vault
from mdm.embedded import start_postgres
from profiles import drafts, sealing, targets
from profiles.policy import read

TABLETS = 15_000
SCHOOLS = 40
CLASSES = 200
EXCEPTIONS = 60
ROUNDS = 3
_VERSIONS: Final = ("15.8", "16.7", "17.7", "18.1", "26.1")
_LEDGER: Final = (
    "INSERT INTO operator (name, role, password_hash, all_schools) VALUES ('bench', 'administrator', '', true)",
    "INSERT INTO school (code, name) SELECT 'S' || n, 'School ' || n FROM generate_series(1, :schools) n",
    """
    INSERT INTO school_class (school_id, year, name)
    SELECT s.id, 1 + (n - 1) / :schools % 6, ((n - 1) / :schools / 6 + 1)::text FROM generate_series(1, :classes) n
    JOIN school s ON s.code = 'S' || (1 + (n - 1) % :schools)
    """,
    """
    INSERT INTO holder (school_id, class_id, user_id, name_sealed)
    SELECT c.school_id, c.id, 'u' || n, '' FROM generate_series(1, :tablets) n
    JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS at FROM school_class) c ON c.at = n % :classes
    """,
    """
    INSERT INTO device (control_number, serial, platform, model, school_id, holder_id, lease_contract, state)
    SELECT 'C' || id, 'BENCH' || id, 'apple', '', school_id, id, '', 'issued' FROM holder
    """,
    """
    INSERT INTO enrollment (device_id, status, epoch, udid, supervised, os_version)
    SELECT id, 'active', 1, serial, true,
        (CAST(:versions AS text[]))[1 + (id + id / :classes) % array_length(CAST(:versions AS text[]), 1)] FROM device
    """,
)
_EXCEPTION: Final = """
INSERT INTO policy_exception (layer, {column}, place, document, reason, state, requested_by, requested_at, expires_at)
SELECT :layer, p.id, :place, CAST(:document AS jsonb), 'benchmark', 'active', (SELECT min(id) FROM operator), :now,
    :later
FROM {table} p ORDER BY p.id OFFSET :at LIMIT 1
"""
_SAMPLE: Final = Path(__file__).parents[1] / "docs" / "policy" / "district.yaml"


def measure(
    *,
    tablets: int = TABLETS,
    schools: int = SCHOOLS,
    classes: int = CLASSES,
    exceptions: int = EXCEPTIONS,
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """Return the rate and the ratio with the times behind them."""
    whole, part, manifests, touched = [], [], 0, 0
    with tempfile.TemporaryDirectory() as folder, _database(Path(folder)):
        with Session(db.engine()) as session:
            _seed(session, tablets=tablets, schools=schools, classes=classes, exceptions=exceptions)
        for turn in range(rounds):
            _forget()
            whole.append(_retarget(None, changed=tablets))
            with Session(db.engine()) as session:
                found = session.execute(text("SELECT count(DISTINCT desired_manifest) FROM enrollment"))
                manifests = int(found.scalar_one())
                ids = _change_class(session, revision=turn + 2)
            known = _compiled()
            part.append(_retarget(ids, changed=len(ids)))
            touched = _compiled() - known
            if not 0 < touched <= len(_VERSIONS):
                raise RuntimeError(f"{touched} of {manifests} manifests were compiled again for one class")
    full, incremental = statistics.median(whole), statistics.median(part)
    return {
        "manifests_per_s": round(manifests / full),
        "incremental_vs_full": round(full / incremental, 1),
        "manifests_all_s": round(full, 2),
        "manifests_one_class_s": round(incremental, 4),
        "manifests": manifests,
        "manifests_compiled_again": touched,
    }


def _retarget(ids: Sequence[int] | None, *, changed: int) -> float:
    started = time.perf_counter()
    with Session(db.engine()) as session:
        count = targets.retarget(session, ids)
        session.commit()
    took = time.perf_counter() - started
    if count != changed:
        raise RuntimeError(f"{count} tablets changed instead of {changed}")
    return took


def _compiled() -> int:
    return len(drafts._drafts.values)  # noqa: SLF001 - what it keeps is what is measured


def _forget() -> None:
    """Be a fresh process with a fleet that was never told anything."""
    drafts.forget()
    with Session(db.engine()) as session:
        session.execute(text("UPDATE enrollment SET desired_manifest = NULL, desired_stale = true"))
        session.execute(text("TRUNCATE wakeup, manifest, manifest_item, artifact"))
        session.commit()
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"}).execute(text("VACUUM ANALYZE"))


def _change_class(session: Session, *, revision: int) -> list[int]:
    """Release another revision of one class's policy and return the class's tablets."""
    policy_id, class_id, name = session.execute(
        text("SELECT id, class_id, name FROM policy WHERE layer = 'class' ORDER BY id DESC LIMIT 1")
    ).one()
    place = session.execute(
        text(
            "SELECT s.code || '/' || c.year || '/' || c.name FROM school_class c JOIN school s ON s.id = c.school_id"
            " WHERE c.id = :id"
        ),
        {"id": class_id},
    ).scalar_one()
    document = _of_class(name, place, site=f"changed{revision}.example.com")
    _revise(session, policy_id, revision, document)
    session.commit()
    rows = session.execute(
        text("SELECT d.id FROM device d JOIN holder h ON h.id = d.holder_id WHERE h.class_id = :id"), {"id": class_id}
    )
    return [device_id for (device_id,) in rows]


def _of_class(name: str, place: str, *, site: str) -> dict[str, Any]:
    return {"version": 1, "name": name, "layer": {"class": place}, "web_filter": {"deny_list": [site]}}


def _seed(session: Session, *, tablets: int, schools: int, classes: int, exceptions: int) -> None:
    """Write the ledger, an enrolment for each tablet, and everybody's policies and exceptions, all released."""
    for statement in _LEDGER:
        session.execute(
            text(statement),
            {"tablets": tablets, "schools": schools, "classes": classes, "versions": list(_VERSIONS)},
        )
    _seed_policies(session)
    _seed_exceptions(session, exceptions)
    session.commit()


def _seed_policies(session: Session) -> None:
    (fleet, *_) = yaml.safe_load_all(_SAMPLE.read_text())
    _found(session, "fleet", None, fleet)
    for school_id, code in session.execute(text("SELECT id, code FROM school ORDER BY id")).all():
        sections = {"usb": {"host_pairing": "deny"}, "web_filter": {"allow_list": [f"{code.lower()}.example.jp"]}}
        document = {"version": 1, "name": f"school-{code.lower()}", "layer": {"school": code}, **sections}
        _found(session, "school", school_id, document)
    rows = session.execute(
        text(
            "SELECT c.id, s.code || '/' || c.year || '/' || c.name FROM school_class c"
            " JOIN school s ON s.id = c.school_id ORDER BY c.id"
        )
    ).all()
    for class_id, place in rows:
        document = _of_class(f"class-{class_id}", place, site=f"c{class_id}.example.com")
        _found(session, "class", class_id, document)


def _found(session: Session, layer: str, place_id: int | None, document: dict[str, Any]) -> None:
    column = {"fleet": "device_id", "school": "school_id", "class": "class_id"}[layer]
    policy_id = session.execute(
        text(f"INSERT INTO policy (name, layer, {column}) VALUES (:name, :layer, :place) RETURNING id"),
        {"name": document["name"], "layer": layer, "place": place_id},
    ).scalar_one()
    _revise(session, policy_id, 1, document)


def _revise(session: Session, policy_id: int, number: int, document: dict[str, Any]) -> None:
    stored = json.dumps(sealing.sealed(read(document)))
    session.execute(
        text(
            "INSERT INTO policy_revision (policy_id, number, document, sha256)"
            " VALUES (:policy, :number, CAST(:document AS jsonb), :digest)"
        ),
        {"policy": policy_id, "number": number, "document": stored, "digest": sha256(stored.encode()).digest()},
    )
    session.execute(
        text("UPDATE policy SET released = :number WHERE id = :policy"), {"policy": policy_id, "number": number}
    )


def _seed_exceptions(session: Session, count: int) -> None:
    """Let a third of them speak for a school, a third for a class, a third for one tablet each."""
    now = datetime.now(UTC)
    for number in range(count):
        layer = ("school", "class", "tablet")[number % 3]
        column, table = {"school": ("school_id", "school"), "class": ("class_id", "school_class")}.get(
            layer, ("device_id", "device")
        )
        part = {"version": 1, "name": "exception", "layer": "fleet"}
        part |= {"web_filter": {"allow_list": [f"x{number}.example.com"]}}
        session.execute(
            text(_EXCEPTION.format(column=column, table=table)),
            {
                "layer": layer,
                "place": {"school": "school=S1", "class": "class=S1/1/1"}.get(layer, "serial=BENCH1"),
                "document": json.dumps({"set": sealing.sealed(read(part))}),
                "now": now,
                "later": now + timedelta(days=30),
                "at": number // 3,
            },
        )


@contextmanager
def _database(folder: Path) -> Iterator[None]:
    """Start a durable database of its own with the newest schema; settings of this process point at it."""
    folder.chmod(0o711)
    key_file = folder / "secret.key"
    key_file.write_text(vault.new_key_line())
    server = start_postgres(folder / "postgres")
    before = dict(os.environ)
    try:
        url = server.url_of("postgres")
        own = {"DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1/0", "TABANE_SECRET_KEY_FILE": str(key_file)}
        os.environ |= own
        settings.get_settings.cache_clear()
        db.engine.cache_clear()
        db.migrate(url)
        yield
    finally:
        db.engine().dispose()
        db.engine.cache_clear()
        settings.get_settings.cache_clear()
        os.environ.clear()
        os.environ.update(before)
        server.stop()


if __name__ == "__main__":
    print(json.dumps(measure()))
