"""Each invariant is shown a planted violation and must find it: one that cannot fail would be worth nothing."""

import hashlib
import json
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest

from simulator.clouds.apns import Entry as Push
from simulator.tablets.journal import Event, Journal
from tests.faults.invariants import ALWAYS, AT_REST, check_all, excess
from tests.faults.witness import Accepted, Limit, Witness, audit_head, states, watch_leases
from tests.signer import Signer

SERIALS = ("PLANT1", "PLANT2", "PLANT3")
PATHS = {
    "done": ("queued", "sent", "delivered", "not_now", "delivered", "done"),
    "failed": ("queued", "delivered", "failed"),
    "cancelled": ("queued", "cancelled"),
}


class Ledger:
    """A small district in one transaction that is never committed: three tablets, and a command of each way to end."""

    def __init__(self, connection):
        self.sql = connection.execute
        self.connection = connection
        watch_leases(connection)
        (school,) = self.sql("INSERT INTO school (code, name) VALUES ('P', 'Planted') RETURNING id").fetchone()
        self.operators = [self._operator(name) for name in ("first", "second")]
        self.devices = {serial: self._device(serial, school) for serial in SERIALS}
        self.journals = {serial: Journal(serial) for serial in SERIALS}
        self.accepted = []
        self.commands = {state: self.command(serial, state) for serial, state in zip(SERIALS, PATHS, strict=True)}
        self.signer = Signer("second").pinned_by(connection)
        self.wipe = self._approved_wipe("PLANT3")
        self.audit("first")
        self.audit("second")
        self.seen = Witness(
            journals=list(self.journals.values()),
            devices=self.devices,
            accepted=self.accepted,
            pushes=[push(number / 10) for number in range(50)],
            limits=[Limit("fleet", rate=10, burst=1)],
            before=states(connection),
            audit_head=audit_head(connection),
        )

    def _operator(self, name):
        return self.sql(
            "INSERT INTO operator (name, password_hash, role, all_schools) VALUES (%s, '', 'administrator', true)"
            " RETURNING id",
            (name,),
        ).fetchone()[0]

    def _device(self, serial, school):
        row = self.sql(
            "INSERT INTO device (control_number, serial, platform, model, school_id, state, lease_contract)"
            " VALUES (%s, %s, 'apple', '', %s, 'issued', '') RETURNING id",
            (serial, serial, school),
        ).fetchone()
        self.sql(
            "INSERT INTO enrollment (device_id, status, epoch, udid, enrolled_at)"
            " VALUES (%s, 'active', 1, %s, now() - interval '1 day')",
            (row[0], serial),
        )
        return row[0]

    def command(self, serial, state, kind="inventory_device", request="planted"):
        """A command with its events, its request and, where the tablet did it, the line in its journal."""
        (made,) = self.sql(
            "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, created_by)"
            " VALUES (%s, 1, %s, '{}', %s, 1, %s, now() + interval '1 day', %s) RETURNING id",
            (self.devices[serial], kind, kind, state, self.operators[0]),
        ).fetchone()
        for said in PATHS.get(state, (state,)):
            self.event(made, said)
        if state in ("done", "failed"):
            self.executes(serial, made, "Acknowledged" if state == "done" else "Error")
        key = f"{request}-{made}"
        self.request(key, [made])
        self.accepted.append(Accepted(key, frozenset([made])))
        return made

    def request(self, key, made):
        answer = {"placed": [{"command": {"id": str(each)}, "created": True} for each in made]}
        self.sql(
            "INSERT INTO idempotency_record (operator_id, key, route, body_hash, status, answer)"
            " VALUES (%s, %s, 'POST /api/v1/commands', '', 202, %s)",
            (self.operators[0], key, json.dumps(answer).encode()),
        )

    def event(self, command, state, note=""):
        self.sql("INSERT INTO command_event (command_id, state, note) VALUES (%s, %s, %s)", (command, state, note))

    def executes(self, serial, command, status="Acknowledged", kind="DeviceInformation", epoch=1):
        self.journals[serial].write(Event.EXECUTED, epoch, command=str(command), kind=kind, status=status)

    def _approved_wipe(self, serial):
        wipe = self.command(serial, "held", "wipe")
        command = {"id": str(wipe), "kind": "wipe", "arguments": {}, "epoch": 1}
        subject = {"command": command, "devices": [{"id": self.devices[serial], "serial": serial}]}
        ask = "INSERT INTO approval (action, subject, digest, reason, requested_by, expires_at)"
        ask += " VALUES ('command.wipe', %s, '', '-', %s, now() + interval '1 day') RETURNING id"
        (approval,) = self.sql(ask, (json.dumps(subject), self.operators[0])).fetchone()
        self.sql("UPDATE command SET approval_id = %s WHERE id = %s", (approval, wipe))
        self.signer.approve_row(self.connection, approval)
        for state in ("queued", "sent", "delivered", "done"):
            self.sql("UPDATE command SET state = %s, delivered_at = now() WHERE id = %s", (state, wipe))
            self.event(wipe, state)
        self.executes(serial, wipe, kind="EraseDevice")
        return wipe

    def audit(self, action):
        previous = audit_head(self.connection) or bytes(32)
        at = datetime.now(UTC)
        body = {"at": at.isoformat(timespec="microseconds"), "actor": "host", "subject": "-", "details": {}}
        digest = hashlib.sha256(previous + canonical(body | {"action": action})).digest()
        self.sql(
            "INSERT INTO audit_event (at, actor, action, subject, details, previous, digest)"
            " VALUES (%s, 'host', %s, '-', '{}', %s, %s)",
            (at, action, previous, digest),
        )

    def force(self, statement, *values):
        """Do what the database itself refuses."""
        self.sql("SET LOCAL session_replication_role = replica")
        self.sql(statement, values)
        self.sql("SET LOCAL session_replication_role = origin")

    def lease(self, serial, who, token, until="1 minute"):
        self.sql("SELECT set_config('application_name', %s, true)", (who,))
        self.sql(
            "UPDATE wakeup SET lease_token = %s, lease_until = now() + CAST(%s AS interval) WHERE device_id = %s",
            (token, until, self.devices[serial]),
        )

    def due(self, serial):
        self.sql("INSERT INTO wakeup (device_id, lane, due_at) VALUES (%s, 1, now())", (self.devices[serial],))


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def push(at):
    return Push(at, at, "aa", "", "", "200", delivered=True)


@pytest.fixture
def ledger(database):
    with psycopg.connect(database) as connection:
        yield Ledger(connection)
        connection.rollback()


def a_request_without_record(ledger):
    ledger.accepted.append(Accepted("lost", frozenset()))


def another_answer_than_on_record(ledger):
    ledger.accepted[0] = Accepted(ledger.accepted[0].key, frozenset([uuid4()]))


def a_command_that_two_requests_made(ledger):
    ledger.request("again", [ledger.commands["done"]])


def a_command_that_no_request_made(ledger):
    ledger.sql("DELETE FROM idempotency_record WHERE key = %s", (ledger.accepted.pop().key,))


def a_command_that_disappeared(ledger):
    ledger.seen.before[uuid4()] = "queued"


def an_end_that_changed(ledger):
    ledger.seen.before[ledger.commands["done"]] = "expired"


def a_command_that_went_back(ledger):
    ledger.seen.before[ledger.command("PLANT1", "queued")] = "delivered"


def a_command_that_is_live_and_past(ledger):
    ledger.force(
        "INSERT INTO command_past (id, device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at,"
        " created_at, ended_at, not_now_count) SELECT id, device_id, epoch, kind, arguments, dedupe_key, lane, state,"
        " expires_at, created_at, now(), 0 FROM command WHERE id = %s",
        ledger.commands["done"],
    )


def two_live_commands_of_one_key(ledger):
    ledger.sql("DROP INDEX command_live_key")
    for _ in range(2):
        ledger.command("PLANT1", "queued", "restart")


def a_command_carried_out_twice(ledger):
    ledger.executes("PLANT1", ledger.commands["done"])


def a_command_that_was_lost(ledger):
    ledger.command("PLANT1", "queued", "restart")


def a_result_that_nobody_gave(ledger):
    ledger.journals["PLANT1"].entries.clear()


def a_failure_that_counts_as_success(ledger):
    ledger.sql("UPDATE command SET state = 'done' WHERE id = %s", (ledger.commands["failed"],))


def a_cancelled_command_that_was_carried_out(ledger):
    ledger.executes("PLANT3", ledger.commands["cancelled"])


def a_command_out_of_nowhere(ledger):
    ledger.executes("PLANT3", uuid4())


def a_wipe_without_approval(ledger):
    ledger.force("UPDATE command SET approval_id = NULL WHERE id = %s", ledger.wipe)


def a_wipe_that_one_person_approved(ledger):
    ledger.force("UPDATE approval SET decided_by = requested_by")


def a_wipe_that_the_second_person_did_not_sign(ledger):
    ledger.force("UPDATE approval SET urgent = false")  # which is part of what is signed


def a_wipe_whose_approval_was_changed(ledger):
    ledger.force("UPDATE approval SET subject = jsonb_set(subject, '{command,arguments}', '{\"x\": 1}')")


def a_wipe_of_an_unknown_kind(ledger):
    ledger.force("UPDATE command SET kind = 'a_new_one' WHERE id = %s", ledger.commands["done"])


def a_wipe_out_of_nowhere(ledger):
    ledger.executes("PLANT3", uuid4(), kind="EraseDevice")


def a_lease_given_back_by_another(ledger):
    ledger.due("PLANT1")
    ledger.lease("PLANT1", "tabane:1", uuid4())
    ledger.lease("PLANT1", "tabane:2", None)


def a_lease_that_was_stolen(ledger):
    ledger.due("PLANT1")
    ledger.lease("PLANT1", "tabane:1", uuid4())
    ledger.lease("PLANT1", "tabane:2", uuid4())


def pushes_that_came_too_fast(ledger):
    ledger.seen.pushes = [push(number / 11) for number in range(50)]


def a_command_nobody_serves(ledger):
    ledger.sql(
        "UPDATE command SET created_at = now() - interval '1 hour' WHERE id = %s",
        (ledger.command("PLANT1", "sent", "restart"),),
    )


def a_command_that_should_have_expired(ledger):
    ledger.sql(
        "UPDATE command SET expires_at = now() - interval '2 minutes' WHERE id = %s",
        (ledger.command("PLANT1", "held", "wipe"),),
    )


def a_transition_without_event(ledger):
    ledger.sql("DELETE FROM command_event WHERE state = 'done' AND command_id = %s", (ledger.commands["done"],))


def a_transition_with_two_events(ledger):
    ledger.event(ledger.commands["done"], "done")


def an_end_without_hand_over(ledger):
    ledger.sql("DELETE FROM command_event WHERE state = 'delivered' AND command_id = %s", (ledger.commands["failed"],))


def an_audit_event_that_was_changed(ledger):
    ledger.force("UPDATE audit_event SET actor = 'somebody' WHERE action = 'first'")


def an_audit_trail_that_was_cut(ledger):
    ledger.force("DELETE FROM audit_event WHERE action = 'second'")


def a_command_of_an_earlier_enrolment(ledger):
    ledger.command("PLANT1", "queued", "restart")
    ledger.sql("UPDATE enrollment SET epoch = 2 WHERE device_id = %s", (ledger.devices["PLANT1"],))


def a_command_carried_out_in_another_enrolment(ledger):
    ledger.journals["PLANT1"].entries.clear()
    ledger.executes("PLANT1", ledger.commands["done"], epoch=2)


PLANTS = {
    1: (
        a_request_without_record,
        another_answer_than_on_record,
        a_command_that_two_requests_made,
        a_command_that_no_request_made,
    ),
    2: (a_command_that_disappeared, an_end_that_changed, a_command_that_went_back, a_command_that_is_live_and_past),
    3: (two_live_commands_of_one_key,),
    4: (a_command_carried_out_twice, a_command_that_was_lost),
    5: (
        a_result_that_nobody_gave,
        a_failure_that_counts_as_success,
        a_cancelled_command_that_was_carried_out,
        a_command_out_of_nowhere,
    ),
    6: (
        a_wipe_without_approval,
        a_wipe_that_one_person_approved,
        a_wipe_that_the_second_person_did_not_sign,
        a_wipe_whose_approval_was_changed,
        a_wipe_of_an_unknown_kind,
        a_wipe_out_of_nowhere,
    ),
    7: (a_lease_given_back_by_another, a_lease_that_was_stolen),
    8: (pushes_that_came_too_fast,),
    9: (a_command_nobody_serves, a_command_that_should_have_expired),
    10: (
        a_transition_without_event,
        a_transition_with_two_events,
        an_end_without_hand_over,
        an_audit_event_that_was_changed,
        an_audit_trail_that_was_cut,
    ),
    11: (a_command_of_an_earlier_enrolment, a_command_carried_out_in_another_enrolment),
}


def test_a_ledger_in_order_violates_nothing(ledger):
    """Ends brought about by tablets, people and approvals, and a lease taken over after it ran out, are all well."""
    ledger.due("PLANT1")
    ledger.lease("PLANT1", "tabane:1", uuid4(), until="-1 second")
    ledger.lease("PLANT1", "tabane:2", uuid4())
    ledger.lease("PLANT1", "tabane:2", None)
    ledger.lease("PLANT1", "tabane:2", uuid4())
    ledger.lease("PLANT1", "tabane-door:3", None)
    assert check_all(ledger.connection, ledger.seen) == []


@pytest.mark.parametrize(
    ("number", "plant"), [(number, plant) for number, plants in PLANTS.items() for plant in plants]
)
def test_a_planted_violation_is_found(ledger, number, plant):
    """What must not be is found under the number of its invariant, and described without any secret."""
    plant(ledger)
    found = check_all(ledger.connection, ledger.seen)
    assert number in {one.invariant for one in found}, [str(one) for one in found]
    assert all(str(one).startswith(f"invariant {one.invariant}: ") for one in found)


def test_each_of_the_eleven_is_checked_and_planted():
    """No invariant is without a check, none without a plant."""
    assert len({*ALWAYS, *AT_REST}) == 11
    assert sorted(PLANTS) == list(range(1, 12))


def test_the_worst_window_decides_about_a_limit():
    """A burst within a quiet minute is counted as such, and slack and forgotten buckets are allowed for."""
    start = time.monotonic()
    sends = [start + second for second in range(60)] + [start + 60 + number / 1000 for number in range(10)]
    assert excess(sends, Limit("x", rate=1, burst=2)) == pytest.approx(8, abs=0.1)
    assert excess(sends, Limit("x", rate=1, burst=11)) <= 0
    assert excess(sends, Limit("x", rate=1, burst=2, bursts=6)) <= 0
    assert excess(sends, Limit("x", rate=1, burst=2, slack_s=9)) <= 0
    assert excess([], Limit("x", rate=1, burst=2)) <= 0


def test_violations_name_ids_and_states_only(ledger):
    """Arguments of a command never come into a report: they hold messages and telephone numbers."""
    lost = ledger.command("PLANT1", "queued", "lost_mode_on")
    ledger.sql('UPDATE command SET arguments = \'{"message": "planted secret"}\' WHERE id = %s', (lost,))
    found = [str(one) for one in check_all(ledger.connection, ledger.seen)]
    assert any(str(lost) in line for line in found)
    assert not any("planted secret" in line for line in found)
    assert isinstance(lost, UUID)
