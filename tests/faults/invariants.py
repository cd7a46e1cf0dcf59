"""The eleven invariants of the ledger of commands, each compared with witnesses that the servers cannot reach.

Each returns its violations with what is needed to look further: ids and states, never arguments, tokens or names.
2, 3, 7, 8 and 11 hold at every moment, the others when nothing is under way any more. Of invariant 6 the budgets are
missing: there are none yet.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Final
from uuid import UUID

import psycopg
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mdm.auth.rights import Safety
from mdm.commands.kinds import safety_of
from simulator.tablets.journal import Event
from tests import signer
from tests.faults.witness import COMMANDS, Limit, Witness, states

_LATE: Final = "the tablet had done it all the same"
_DROPPED: Final = frozenset({"expired", "cancelled", "superseded"})
_ENDED: Final = frozenset({"done", "failed"}) | _DROPPED
_STAGES: Final = {"held": 0, "queued": 1, "sent": 2, "delivered": 3, "not_now": 3}
_NEXT: Final = {
    None: {"held", "queued"},
    "held": {"queued", "cancelled", "expired"},
    "queued": {"sent", "delivered"} | _DROPPED,
    "sent": {"delivered"} | _DROPPED,
    "delivered": {"delivered", "not_now", "done", "failed"} | _DROPPED,
    "not_now": {"delivered", *_DROPPED},
}
"""The transitions of a command; it cannot end by the tablet's word without having been handed over."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not be: the number of the invariant, and what was found."""

    invariant: int
    what: str

    def __str__(self) -> str:
        return f"invariant {self.invariant}: {self.what}"


def _all(number: int, found: Iterable[str]) -> list[Violation]:
    return [Violation(number, what) for what in found]


def requests_made_their_commands(connection: psycopg.Connection, seen: Witness) -> list[Violation]:
    """1: accepted requests = command sets created, one to one."""
    stored: dict[str, set[UUID]] = {}
    makers: Counter[UUID] = Counter()
    for key, answer in connection.execute(
        "SELECT key, answer FROM idempotency_record WHERE route LIKE 'POST /api/v1/%commands'"
    ):
        document = json.loads(bytes(answer))
        placed = document.get("placed", [document])
        made = {UUID(each["command"]["id"]) for each in placed if each["created"]}
        stored.setdefault(key, set()).update(made)
        makers.update(made)
    there = {row[0]: row[1] for row in connection.execute(f"SELECT id, created_by FROM {COMMANDS}")}
    found = [f"accepted request {one.key} is not on record" for one in seen.accepted if one.key not in stored]
    found += [
        f"request {one.key} was answered with other commands than are on record"
        for one in seen.accepted
        if one.key in stored and stored[one.key] != one.made
    ]
    found += [f"command {each} of an accepted request is gone" for each in makers if each not in there]
    found += [f"command {each} was made by {count} requests" for each, count in makers.items() if count > 1]
    found += [f"command {each} was made by no request" for each, by in there.items() if by and each not in makers]
    return _all(1, found)


def nothing_disappears(connection: psycopg.Connection, seen: Witness) -> list[Violation]:
    """2: between two samples no command disappears, none goes back, and what has ended stays as it ended."""
    after = states(connection)
    found = [f"command {each} disappeared, it was {state}" for each, state in seen.before.items() if each not in after]
    found += [
        f"command {each} went from {state} to {after[each]}"
        for each, state in seen.before.items()
        if each in after and not _forward(state, after[each])
    ]
    twice = connection.execute("SELECT id FROM command JOIN command_past USING (id)").fetchall()
    found += [f"command {each} is live and past at once" for (each,) in twice]
    unknown = Counter(state for state in after.values() if state not in _STAGES and state not in _ENDED)
    return _all(2, [*found, *(f"{count} commands in the state {state}" for state, count in unknown.items())])


def _forward(before: str, after: str) -> bool:
    if before in _ENDED or after in _ENDED:
        return before not in _ENDED or before == after
    return _STAGES[before] <= _STAGES[after]


def one_live_command_of_a_kind(connection: psycopg.Connection, _seen: Witness) -> list[Violation]:
    """3: at most one live command for each (device, dedupe key)."""
    rows = connection.execute(
        "SELECT device_id, dedupe_key, count(*) FROM command"
        " WHERE state IN ('held', 'queued', 'sent', 'delivered', 'not_now') GROUP BY 1, 2 HAVING count(*) > 1"
    )
    return _all(3, [f"{count} live commands {key} for device {device}" for device, key, count in rows])


def executed_once_or_dropped(connection: psycopg.Connection, seen: Witness) -> list[Violation]:
    """4: no CommandUUID was carried out twice, and whatever was not dropped was carried out."""
    executed = seen.executed()
    found = [f"command {each} was carried out {len(lines)} times" for each, lines in executed.items() if len(lines) > 1]
    found += [
        f"command {each} was never carried out, it is {state}"
        for each, device, state in connection.execute(f"SELECT id, device_id, state FROM {COMMANDS}")
        if state not in _DROPPED and state != "held" and each not in executed and device in seen.devices.values()
    ]
    return _all(4, found)


def ends_agree_with_the_tablets(connection: psycopg.Connection, seen: Witness) -> list[Violation]:
    """5: what counts as done or failed was carried out with that result, and what was carried out counts so."""
    executed = seen.executed()
    commands = {
        row[0]: row[1:]
        for row in connection.execute(f"SELECT id, device_id, kind, state, result IS NOT NULL FROM {COMMANDS}")
    }
    found = []
    for each, (device, kind, state, result) in commands.items():
        statuses = {entry.detail["status"] == "Acknowledged" for entry in executed.get(each, ())}
        if state in ("done", "failed") and device in seen.devices.values() and statuses != {state == "done"}:
            found.append(f"command {each} ({kind}) is {state}, its tablet says {statuses or 'nothing'}")
        elif statuses and state not in ("done", "failed") and not (state in _DROPPED and (result or False in statuses)):
            found.append(f"command {each} ({kind}) was carried out, and is {state}")
    found += [
        f"a tablet carried out {lines[0].kind} {each}, which is on no record"
        for each, lines in executed.items()
        if each not in commands and lines[0].kind not in ("InstallProfile", "RemoveProfile")
    ]
    return _all(5, found)


def nobody_wiped_alone(connection: psycopg.Connection, seen: Witness) -> list[Violation]:
    """6: class A left only with the approval of two persons, of exactly this command, in time."""
    executed = seen.executed()
    rows = connection.execute(
        "SELECT c.id, c.kind, c.state, c.arguments, c.epoch, c.device_id, c.delivered_at, a.state, a.action, a.subject,"
        " a.digest, a.requested_by, a.decided_by, a.decided_at, a.expires_at, a.reason, a.urgent, a.signature,"
        " k.public_key, o.name"
        f" FROM {COMMANDS} LEFT JOIN approval a ON a.id = c.approval_id LEFT JOIN operator o ON o.id = a.decided_by"
        " LEFT JOIN approver_key k ON k.id = a.key_id AND k.operator_id = a.decided_by AND k.pinned_at IS NOT NULL"
    ).fetchall()
    found = []
    for row in rows:
        each, kind, state, arguments, epoch, device, delivered_at, decided = row[:8]
        if safety_of(kind) is not Safety.A:
            continue
        if state in ("held", *_DROPPED) and delivered_at is None and each not in executed:
            continue
        action, subject, digest, requested_by, decided_by, decided_at, expires_at, reason, *signed = row[8:]
        if decided != "approved" or decided_by is None or decided_by == requested_by:
            found.append(f"{kind} {each} is {state} with an approval that is {decided or 'missing'}")
        elif bytes(digest) != signer.digest(action, subject, reason, requested_by, expires_at):
            found.append(f"{kind} {each}: what was approved was changed afterwards")
        elif subject["command"] != {"id": str(each), "kind": kind, "arguments": arguments, "epoch": epoch}:
            found.append(f"{kind} {each}: something else was approved")
        elif [one["id"] for one in subject["devices"]] != [device] or decided_at > expires_at:
            found.append(f"{kind} {each}: approved for another tablet, or too late")
        elif not _is_signed(bytes(digest), *signed):
            found.append(f"{kind} {each}: the second person did not sign that")
        elif delivered_at is not None and delivered_at < decided_at:
            found.append(f"{kind} {each} was handed over before it was approved")
    known = {row[0] for row in rows}
    erased = {UUID(entry.command) for entry in seen.entries(Event.EXECUTED) if entry.kind == "EraseDevice"}
    return _all(6, [*found, *(f"a tablet was erased by {each}, which is on no record" for each in erased - known)])


def _is_signed(digest: bytes, urgent: bool, signature: dict[str, str] | None, key: bytes | None, name: str) -> bool:
    """Say whether a pinned key (software: those of the suite are) of the one who decided signed exactly this."""
    if key is None or signature is None:
        return False
    try:
        given = base64.urlsafe_b64decode(signature["signature"] + "==")
        Ed25519PublicKey.from_public_bytes(key).verify(given, signer.challenge(digest, name, urgent=urgent))
    except InvalidSignature:
        return False
    return True


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def stale_leases_change_nothing(connection: psycopg.Connection, _seen: Witness) -> list[Violation]:
    """7: a lease is given back by the worker that took it, or by the door that hears the tablet; none is stolen."""
    rows = connection.execute(
        "SELECT ended.device_id, ended.what, ended.who, taken.who FROM lease_witness ended"
        " LEFT JOIN lease_witness taken ON taken.device_id = ended.device_id AND taken.token = ended.token"
        " AND taken.what = 'taken'"
        " WHERE ended.what = 'stolen' OR (ended.what = 'given back' AND ended.who NOT LIKE 'tabane-door%%'"
        "  AND ended.who IS DISTINCT FROM taken.who)"
    )
    return _all(7, [f"device {device}: lease of {taker} {what} by {who}" for device, what, who, taker in rows])


def limits_were_kept(_connection: psycopg.Connection, seen: Witness) -> list[Violation]:
    """8: in every window w a bucket let through at most rate * w + burst, by the push service's journal."""
    pushes = list(seen.pushes)
    found = []
    for limit in seen.limits:
        times = sorted(one.monotonic for one in pushes if limit.tokens is None or one.token in limit.tokens)
        over = excess(times, limit)
        if over > 1e-3:
            found.append(f"bucket {limit.name} let {over:.1f} more through than {limit.rate}/s and {limit.burst}")
    return _all(8, found)


def excess(times: Sequence[float], limit: Limit) -> float:
    """Return by how many the sends at these sorted times exceed rate * w + burst in the worst window w."""
    level, worst, last = 0.0, 0.0, times[0] if times else 0.0
    for at in times:
        level = max(0.0, level - (at - last) * limit.rate) + 1
        last = at
        worst = max(worst, level)
    return worst - limit.burst * limit.bursts - limit.slack_s * limit.rate


def nobody_waits_too_long(
    connection: psycopg.Connection, seen: Witness, *, sla_s: float = 0.0, sweep_s: float = 60.0
) -> list[Violation]:
    """9: no open command of an online tablet is older than it may be, and the sweeper is not behind."""
    late = connection.execute(
        "SELECT id, kind, state, extract(epoch FROM now() - greatest(created_at, coalesce(not_before, created_at)))"
        " FROM command WHERE state IN ('queued', 'sent', 'delivered', 'not_now') AND device_id = ANY(%s)"
        " AND greatest(created_at, coalesce(not_before, created_at)) < now() - make_interval(secs => %s)",
        (list(seen.devices.values()), sla_s),
    )
    found = [f"command {each} ({kind}) is {state} after {age:.0f} s" for each, kind, state, age in late]
    overdue = connection.execute(
        "SELECT id, state, extract(epoch FROM now() - expires_at) FROM command"
        " WHERE state IN ('held', 'queued', 'sent', 'delivered', 'not_now')"
        " AND expires_at < now() - make_interval(secs => %s)",
        (sweep_s,),
    )
    found += [f"command {each} is {state}, the sweeper is {age:.0f} s behind" for each, state, age in overdue]
    return _all(9, found)


def every_transition_is_on_record(connection: psycopg.Connection, seen: Witness) -> list[Violation]:
    """10: one event for each transition; the audit trail is whole and still holds what was its newest event."""
    histories: dict[UUID, list[tuple[str, str]]] = {}
    for each, state, note in connection.execute("SELECT command_id, state, note FROM command_event ORDER BY id"):
        histories.setdefault(each, []).append((state, note))
    found = []
    for each, state in states(connection).items():
        path = [said for said, note in histories.get(each, ()) if note != _LATE]
        steps = zip([None, *path], path, strict=False)
        wrong = [f"{before or 'nothing'} to {after}" for before, after in steps if after not in _NEXT.get(before, ())]
        if wrong or path[-1:] != [state]:
            found.append(f"command {each} is {state}, its events say {path} {wrong}")
    return _all(10, [*found, *_broken_chain(connection, seen.audit_head)])


def _broken_chain(connection: psycopg.Connection, head: bytes | None) -> list[str]:
    previous, seen_head = bytes(32), head is None
    for number, sequence, key, at, actor, action, subject, details, claimed, digest in connection.execute(
        "SELECT id, sequence, key_id, at, actor, action, subject, details, previous, digest"
        " FROM audit_event ORDER BY id"
    ):
        moment = at.astimezone(UTC).isoformat(timespec="microseconds")
        body = {"at": moment, "actor": actor, "action": action, "subject": subject, "details": details}
        heading = b""
        if sequence is not None:  # sealed: its place and the seal's key are part of what is hashed
            heading, body = b"tabane audit event 2\n", {**body, "sequence": sequence, "key": key}
        follows = hashlib.sha256(heading + previous + _canonical(body)).digest() == bytes(digest)
        if bytes(claimed) != previous or not follows:
            return [f"audit event {number} does not follow from the one before"]
        previous = bytes(digest)
        seen_head = seen_head or previous == head
    return [] if seen_head else ["the audit trail has lost what was its newest event"]


def old_epochs_are_over(connection: psycopg.Connection, seen: Witness) -> list[Violation]:
    """11: no command of an earlier enrolment was served."""
    rows = connection.execute(
        f"SELECT c.id, c.kind, c.epoch, e.epoch, c.state FROM {COMMANDS} JOIN enrollment e USING (device_id)"
        " WHERE c.epoch <> e.epoch AND (c.state IN ('held', 'queued', 'sent', 'delivered', 'not_now')"
        "  OR (c.epoch < e.epoch AND c.delivered_at > e.enrolled_at))"
    )
    found = [
        f"command {each} ({kind}) of epoch {old} is {state} in epoch {new}" for each, kind, old, new, state in rows
    ]
    epochs = dict(connection.execute(f"SELECT id, epoch FROM {COMMANDS}").fetchall())
    found += [
        f"command {entry.command} of epoch {epochs[UUID(entry.command)]} was carried out in epoch {entry.epoch}"
        for entry in seen.entries(Event.EXECUTED)
        if epochs.get(UUID(entry.command), entry.epoch) != entry.epoch
    ]
    return _all(11, found)


Check = Callable[[psycopg.Connection, Witness], list[Violation]]
ALWAYS: Final[tuple[Check, ...]] = (
    nothing_disappears,
    one_live_command_of_a_kind,
    stale_leases_change_nothing,
    limits_were_kept,
    old_epochs_are_over,
)
AT_REST: Final[tuple[Check, ...]] = (
    requests_made_their_commands,
    executed_once_or_dropped,
    ends_agree_with_the_tablets,
    nobody_wiped_alone,
    nobody_waits_too_long,
    every_transition_is_on_record,
)


def check_all(connection: psycopg.Connection, seen: Witness, *, at_rest: bool = True) -> list[Violation]:
    """Check what must hold now: all eleven `at_rest`, else those that hold at every moment."""
    checks = (*ALWAYS, *AT_REST) if at_rest else ALWAYS
    return sorted((found for check in checks for found in check(connection, seen)), key=lambda one: one.invariant)
