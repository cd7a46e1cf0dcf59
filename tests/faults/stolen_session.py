"""A stolen session for ten minutes: how many tablets does it erase, does the breaker open, is somebody told.

`python -m tests.faults.stolen_session [--minutes 10] [--tablets 300]`: runs in a house of their own each, one with what
a stolen session and token open, one with a support operator besides who signs whatever is asked, and both once more
with the web process's own role in the database. Tablets count as erased by their own journals. The last line is
one JSON object.
"""

import argparse
import itertools
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import httpx2

from mdm import db
from mdm.auth import Role
from mdm.auth.rights import RIGHTS
from mdm.safeguards import proven
from simulator.clouds.pager import Pager
from simulator.tablets.journal import Event
from tests.faults.house import settings_of, until
from tests.faults.scene import Scene
from tests.faults.thief import Loot, Thief
from tests.serving import serving
from tests.signer import Signer

COLLUDER = "colluder"
MOST_ALONE = 0
MOST_WITH_A_COLLUDER = 3
"""The budget of one signer for an hour."""
_PAGER_SECRET = b"an invented secret"
_FIRST_ACTS = 4
"""So much is tried however slow the machine is."""
_SETTLES_S = 8.0
"""What has been let go by then has reached its tablet."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run."""

    run: str
    seconds: float
    wiped: int
    least: int
    """Fewer would say that the way which is open by design was not tried."""
    most: int
    breaker_open: bool
    pages: int
    requests: int
    statements: dict[str, int]
    """How the database answered its own, by code."""
    server_errors: int

    @property
    def held(self) -> bool:
        """Whether the house held."""
        return (
            self.least <= self.wiped <= self.most and self.breaker_open and self.pages > 0 and self.server_errors == 0
        )


@contextmanager
def scene_of(tablets: int) -> Iterator[tuple[Scene, Pager]]:
    """Have a house with its fleet, budgets as in real life, and a pager."""
    folder = Path(tempfile.mkdtemp(prefix="tabane-stolen-"))
    folder.chmod(0o711)
    (folder / "pager").write_bytes(_PAGER_SECRET)
    pager = Pager(_PAGER_SECRET)
    with serving(pager) as url:
        more = {
            "TABANE_NOTICES__WEBHOOK_URL": f"{url}/page",
            "TABANE_NOTICES__WEBHOOK_SECRET_FILE": str(folder / "pager"),
        }
        scene = Scene(folder, tablets, per_s=0, burst=1, more=more, desk=[COLLUDER], bounded=True)
        try:
            scene.open()
            yield scene, pager
        finally:
            scene.close()
            shutil.rmtree(folder, ignore_errors=True)


def rob(
    scene: Scene,
    pager: Pager,
    name: str,
    *,
    seconds: float,
    seed: int,
    colluding: bool = False,
    inside: bool = False,
) -> Outcome:
    """Let the thief act for so long and return what came of it.

    `colluding` adds a support operator who signs, `inside` the web process's way into the database.
    """
    _erased_lawfully(scene)
    before = _wiped(scene)
    loot = _loot(scene)
    if inside:
        loot.database_url = scene.house.addresses["web"]
    began = time.monotonic()
    with _signing_whatever_comes(scene) if colluding else _nobody() as loot.friend:
        thief = Thief(loot, random.Random(seed))
        thief.look_around()
        if colluding:  # before anybody is alarmed
            thief.ask_quietly()
            time.sleep(_SETTLES_S)
        _round(thief, ends=began + seconds, least=_FIRST_ACTS)
        while time.monotonic() - began < seconds:
            _round(thief, ends=began + seconds)
    thief.http.close()
    time.sleep(_SETTLES_S)
    return Outcome(
        run=name,
        seconds=round(time.monotonic() - began, 1),
        wiped=len(_wiped(scene) - before),
        least=1 if colluding else 0,
        most=MOST_WITH_A_COLLUDER if colluding else MOST_ALONE,
        breaker_open=_breaker_open(scene),
        pages=len(pager.received),
        requests=sum(thief.answers.values()),
        statements=dict(thief.refusals),
        server_errors=sum(count for status, count in thief.answers.items() if status >= 500),
    )


def _round(thief: Thief, *, ends: float, least: int = 0) -> None:
    acts: list[Callable[[], None]] = [
        thief.use_the_database,
        thief.look_around,
        thief.ask_for_wipes,
        thief.approve_all,
        thief.make_a_second_person,
        thief.forge_messages,
        thief.use_the_command_line,
        thief.try_every_route,
    ]
    for number, act in enumerate(acts):
        if number >= least and time.monotonic() > ends:
            return
        act()


def _loot(scene: Scene) -> Loot:
    client = scene.clients[0]
    session = client.headers["Authorization"].removeprefix("Bearer ")
    rights = [
        action.value
        for action, right in RIGHTS.items()
        if Role.ADMINISTRATOR in right.roles and not right.person and not right.safety.needs_a_person
    ]
    made = client.post("/tokens", json={"label": "everything", "days": 30, "allow": rights})
    made.raise_for_status()
    house = scene.house
    spared = frozenset({"first", COLLUDER})
    token = made.json()["secret"]
    return Loot(house.web_url, session, token, house.valkey.url, spared, house.folder / "thief")


def _erased_lawfully(scene: Scene) -> None:
    """Have one tablet erased as it should be: the thief finds signatures that were good once."""
    tablet = scene.tablets()[0]
    before = _wiped(scene)
    body = {"kind": "wipe", "serials": [tablet.device.serial], "reason": "returned by its pupil"}
    answer = scene.clients[0].post("/commands", json=body, headers={"Idempotency-Key": uuid4().hex})
    assert answer.is_success, answer.text
    until(scene._approved, "the approval")
    until(lambda: _wiped(scene) - before == {tablet.device.serial}, "a lawful wipe")


def _wiped(scene: Scene) -> set[str]:
    """Return the tablets that erased themselves, by their own journals."""
    return {
        entry.serial
        for tablet in scene.fleet.tablets.values()
        for entry in tablet.journal.entries
        if entry.event is Event.EXECUTED and entry.kind == "EraseDevice"
    }


def _breaker_open(scene: Scene) -> bool:
    """As the sender sees it: a thaw that nobody signed is none."""
    with settings_of(scene.house), db.transaction() as session:
        return proven.frozen(session)


@contextmanager
def _nobody() -> Iterator[None]:
    yield


@contextmanager
def _signing_whatever_comes(scene: Scene) -> Iterator[Signer]:
    """Have a support operator with a pinned key approve, at once and urgently, all that waits."""
    client = scene.signed_in(COLLUDER)
    signer = Signer(COLLUDER).pinned(scene.house.postgres.url)
    over = threading.Event()

    def sign() -> None:
        while not over.wait(0.2):
            with suppress(httpx2.HTTPError, KeyError, ValueError):
                for each in client.get("/approvals", params={"state": "pending"}).json()["items"]:
                    client.post(f"/approvals/{each['id']}/approve", json=signer.consent(each))

    thread = threading.Thread(target=sign, name=COLLUDER)
    thread.start()
    try:
        yield signer
    finally:
        over.set()
        thread.join()
        client.close()


def main() -> int:
    """Run it; 1 when a house did not hold."""
    parser = argparse.ArgumentParser(prog="tests.faults.stolen_session", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--tablets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    outcomes = []
    for inside, colluding in itertools.product((False, True), (False, True)):
        name = ("with a colluder" if colluding else "alone") + (", in the database" if inside else "")
        how = {"seconds": given.minutes * 60, "seed": given.seed, "colluding": colluding, "inside": inside}
        with scene_of(given.tablets) as (scene, pager):
            outcome = rob(scene, pager, name, **how)
        outcomes.append(outcome)
        sys.stderr.write(f"{outcome}\n")
    sys.stdout.write(json.dumps({each.run: asdict(each) | {"held": each.held} for each in outcomes}) + "\n")
    return 0 if all(each.held for each in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
