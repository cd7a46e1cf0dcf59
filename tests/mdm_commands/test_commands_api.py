"""Commands through the operator API: who may ask what of which tablet, and what becomes of it."""

import pytest
from sqlmodel import update

from mdm import db
from mdm.auth import Action, Role
from mdm.auth.rights import allowed
from mdm.commands import queue, transitions
from mdm.commands.kinds import FACTS, Kind
from mdm.devices.models import Enrollment
from mdm.errors import Forbidden

MESSAGE = {"message": "Please return to the school"}


def _wakeups(sql) -> dict[int, int]:
    return dict(sql("SELECT device_id, lane FROM wakeup"))


def test_a_command_is_queued_and_its_tablet_due_a_push(district, sign_in, sql):
    """An accepted command is queued, shown, on record, and its tablet is due a push in the command's lane."""
    hana = sign_in("hana")
    answer = hana.ask(district.tablets["a"], "restart")
    assert answer.status_code == 202
    command = answer.json()["command"]
    assert (command["state"], command["serial"], command["created_by"]) == ("queued", "SERIALA", "hana")
    assert _wakeups(sql) == {district.tablets["a"]: 1}
    detail = hana.get(f"/commands/{command['id']}").json()
    assert [(each["state"], each["note"]) for each in detail["timeline"]] == [("queued", "asked for by operator:hana")]
    assert sql("SELECT action, subject FROM audit_event") == [("command.enqueue", f"device:{district.tablets['a']}")]


def test_lock_means_lost_mode_where_it_can(district, sign_in):
    """`lock` is lost mode on a supervised tablet and the lock screen elsewhere, and says what each protects."""
    hana = sign_in("hana")
    locked = hana.ask(district.tablets["a"], "lock", **MESSAGE).json()
    assert locked["command"]["kind"] == "lost_mode_on"
    assert locked["command"]["arguments"] == MESSAGE
    plain = hana.ask(district.tablets["plain"], "lock", **MESSAGE).json()
    assert plain["command"]["kind"] == "lock_screen"
    assert "without a passcode it protects nothing" in plain["protects"]
    assert plain["protects"] != locked["protects"]


def test_refusals_are_clear(district, sign_in, sql):
    """What cannot work is refused at once, with a slug that says why, and leaves nothing behind."""
    hana = sign_in("hana")
    cases = [
        ("stock", "restart", {}, 409, "not-enrolled"),
        ("plain", "lost_mode_on", MESSAGE, 409, "not-supervised"),
        ("plain", "restart", {}, 409, "not-supervised"),
        ("a", "locate", {}, 409, "not-in-lost-mode"),
        ("a", "play_sound", {}, 409, "not-in-lost-mode"),
        ("a", "lost_mode_on", {}, 422, "invalid"),
        ("a", "lost_mode_on", {"footnote": "only a footnote"}, 422, "invalid"),
        ("a", "lost_mode_on", {"message": "  "}, 422, "invalid"),
        ("a", "lost_mode_on", {"phone_number": "call me"}, 422, "invalid"),
        ("a", "restart", {"now": True}, 422, "invalid"),
        ("a", "wipe", {"preserve_data_plan": "perhaps"}, 422, "invalid"),
        ("a", "wipe", {}, 422, "invalid"),  # no reason
        ("a", "renew_identity", {}, 422, "invalid"),
        ("a", "explode", {}, 422, "invalid"),
    ]
    for tablet, kind, arguments, status, slug in cases:
        answer = hana.ask(district.tablets[tablet], kind, **arguments)
        assert (answer.status_code, answer.json()["type"]) == (status, f"urn:tabane:problem:{slug}"), (tablet, kind)
    assert sql("SELECT count(*) FROM command") == sql("SELECT count(*) FROM audit_event") == [(0,)]


def test_argument_errors_name_the_field(district, sign_in):
    """A wrong argument is named by its pointer."""
    answer = sign_in("hana").ask(district.tablets["a"], "restart", now=True)
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/arguments/now"]


def test_hostile_values_are_the_callers_fault(district, sign_in, sql):
    """NULs, lone surrogates, huge numbers and wrong ids are refused as wrong, never a failure of ours."""
    hana = sign_in("hana")
    raw = hana.client
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    answers = [
        hana.ask(district.tablets["a"], "lock", message="a\0b"),
        hana.ask(district.tablets["a"], "wipe", reason="a\0b"),
        hana.ask(2**70, "restart"),
        hana.ask(-1, "restart"),
        hana.post("/commands", {"kind": "restart", "device_ids": [2**63], "serials": ["\0"]}),
        raw.post("/api/v1/commands", content=b'{"kind":"lock","serials":["\\ud800"]}', headers=headers),
        raw.post("/api/v1/commands", content=b'{"kind":' + b"[" * 100_000, headers=headers),
        raw.post("/api/v1/commands", content=b"\xff\xfe", headers=headers),
        raw.post("/api/v1/session", json={"name": "a\0b", "password": "x", "bearer": True}),
        hana.get("/commands", serial="\0"),
        hana.get("/commands", device_id=2**70),
        hana.get("/commands/not-a-uuid"),
    ]
    assert [answer.status_code for answer in answers if answer.status_code not in {400, 404, 422}] == []
    assert sql("SELECT count(*) FROM command") == [(0,)]


def test_same_intent_twice_is_one_command(district, sign_in, sql):
    """Asking again for what is on its way gives back the same command, whoever asks."""
    first = sign_in("hana").ask(district.tablets["a"], "lock", **MESSAGE).json()
    again = sign_in("jiro").ask(district.tablets["a"], "lock", **MESSAGE).json()
    assert again["command"]["id"] == first["command"]["id"]
    assert (first["created"], again["created"]) == (True, False)
    assert sql("SELECT count(*) FROM command") == [(1,)]


def test_repeat_with_the_same_key_is_replayed(district, sign_in, sql):
    """A repeated request with its Idempotency-Key gets its first answer, even after the command has ended."""
    hana = sign_in("hana")
    body, path = {"kind": "restart"}, f"/devices/{district.tablets['a']}/commands"
    first = hana.post(path, body, key="k1")
    sql("UPDATE command SET state = 'done', ended_at = now()")
    second = hana.post(path, body, key="k1")
    assert (second.status_code, second.json()) == (202, first.json())
    assert hana.post(path, body, key="k2").json()["created"] is True
    assert sql("SELECT count(*) FROM command") == [(2,)]


def test_a_new_text_replaces_the_waiting_one(district, sign_in):
    """Another message supersedes the one that has not gone out; one already handed over runs its course first."""
    hana = sign_in("hana")
    first = hana.ask(district.tablets["a"], "lock", message="one").json()["command"]["id"]
    second = hana.ask(district.tablets["a"], "lock", message="two").json()["command"]["id"]
    assert (hana.state(first), hana.state(second)) == ("superseded", "queued")


def test_off_supersedes_on_and_what_needs_it(district, sign_in):
    """Turning lost mode off ends what was waiting for it: on, locate and sound."""
    hana = sign_in("hana")
    tablet = district.tablets["a"]
    waiting = [hana.ask(tablet, "lock", **MESSAGE), hana.ask(tablet, "locate"), hana.ask(tablet, "play_sound")]
    assert [answer.status_code for answer in waiting] == [202, 202, 202]
    off = hana.ask(tablet, "lost_mode_off").json()["command"]
    assert [hana.state(answer.json()["command"]["id"]) for answer in waiting] == ["superseded"] * 3
    assert off["state"] == "queued"
    assert hana.ask(tablet, "locate").status_code == 409


def test_last_wish_wins_though_the_tablet_holds_older_ones(district, sign_in, sql):
    """On and off were both handed over; a new on is a new command behind them, and asking twice does not double it."""
    hana = sign_in("hana")
    tablet = district.tablets["a"]
    on = hana.ask(tablet, "lock", **MESSAGE).json()["command"]["id"]
    sql("UPDATE command SET state = 'delivered', delivered_at = now()")
    off = hana.ask(tablet, "lost_mode_off").json()["command"]["id"]
    assert hana.state(on) == "delivered"
    sql("UPDATE command SET state = 'delivered', delivered_at = now()")
    newest = hana.ask(tablet, "lock", **MESSAGE).json()
    assert newest["command"]["id"] not in {on, off}
    assert hana.ask(tablet, "lock", **MESSAGE).json()["command"]["id"] == newest["command"]["id"]


def test_what_was_put_off_is_overtaken(district, sign_in, sql):
    """A command that the tablet puts off after a newer one made it pointless is superseded by the sweep."""
    hana = sign_in("hana")
    tablet = district.tablets["a"]
    on = hana.ask(tablet, "lock", **MESSAGE).json()["command"]["id"]
    sql("UPDATE command SET state = 'delivered', delivered_at = now()")
    hana.ask(tablet, "lost_mode_off")
    sql(f"UPDATE command SET state = 'not_now' WHERE id = '{on}'")
    with db.transaction() as session:
        assert transitions.end_overtaken(session) == 1
        assert transitions.end_overtaken(session) == 0
    assert hana.state(on) == "superseded"


def test_locate_in_lost_mode(district, sign_in, sql):
    """A tablet that said it is lost can be located without another lost mode."""
    sql(f"UPDATE enrollment SET lost_mode = true WHERE device_id = {district.tablets['a']}")
    assert sign_in("hana").ask(district.tablets["a"], "locate").status_code == 202


def test_location_is_for_support_and_reading_it_is_on_record(district, sign_in, sql):
    """Viewers see no location; support does, and the trail says so."""
    hana, mieko = sign_in("hana"), sign_in("mieko", Role.VIEWER)
    sql(f"UPDATE enrollment SET lost_mode = true WHERE device_id = {district.tablets['a']}")
    command = hana.ask(district.tablets["a"], "locate").json()["command"]["id"]
    sql("UPDATE command SET state = 'done', result = '{\"latitude\": 35.0}'")
    assert mieko.get(f"/commands/{command}").json()["result"] is None
    assert hana.get(f"/commands/{command}").json()["result"] == {"latitude": 35.0}
    reads = sql("SELECT actor FROM audit_event WHERE action = 'location.read'")
    assert reads == [("operator:hana",)]


def test_cancel_before_the_tablet_has_it(district, sign_in, sql):
    """What waits can be cancelled, twice without harm; what was handed over or is over cannot."""
    hana = sign_in("hana")
    command = hana.ask(district.tablets["a"], "restart").json()["command"]["id"]
    assert hana.post(f"/commands/{command}/cancel").json()["state"] == "cancelled"
    assert hana.post(f"/commands/{command}/cancel").status_code == 200
    for state in ("delivered", "done", "failed", "expired"):
        sql(f"UPDATE command SET state = '{state}'")
        assert hana.post(f"/commands/{command}/cancel").status_code == 409, state
    assert [row[0] for row in sql("SELECT action FROM audit_event ORDER BY id")] == [
        "command.enqueue",
        "command.cancel",
    ]


def test_expiry(district, sign_in, sql):
    """A command that waited too long expires, whatever state it waited in; the rest stays."""
    hana = sign_in("hana")
    old = [hana.ask(district.tablets[name], "restart").json()["command"]["id"] for name in ("a", "b")]
    sql(f"UPDATE command SET state = 'delivered' WHERE id = '{old[1]}'")
    sql("UPDATE command SET expires_at = now()")
    fresh = hana.ask(district.tablets["a"], "inventory_device").json()["command"]["id"]
    with db.transaction() as session:
        assert transitions.expire(session) == 2
        assert transitions.expire(session) == 0
    assert [hana.state(each) for each in (*old, fresh)] == ["expired", "expired", "queued"]


def test_bulk_answers_for_each_tablet(district, sign_in, sql):
    """Several tablets at once: the able ones are placed, each of the others is named with its reason."""
    hana = sign_in("hana")
    body = {
        "kind": "restart",
        "device_ids": [district.tablets["a"], district.tablets["plain"], 999],
        "serials": ["serialb", "SERIALS", "NOSUCH", "SERIALA"],
    }
    answer = hana.post("/commands", body).json()
    assert {each["command"]["serial"] for each in answer["placed"]} == {"SERIALA", "SERIALB"}
    refused = {(each["device_id"], each["serial"]): each["problem"] for each in answer["refused"]}
    assert refused == {
        (district.tablets["plain"], "SERIALP"): "not-supervised",
        (district.tablets["stock"], "SERIALS"): "not-enrolled",
        (999, ""): "not-found",
        (None, "NOSUCH"): "not-found",
    }
    assert hana.post("/commands", {"kind": "restart"}).status_code == 422
    assert sql("SELECT count(*) FROM command") == [(2,)]


def test_wiping_in_bulk_is_refused(district, sign_in, sql):
    """What cannot be undone is asked of one tablet at a time."""
    ids = [district.tablets["a"], district.tablets["b"]]
    answer = sign_in("boss", Role.ADMINISTRATOR).post("/commands", {"kind": "wipe", "device_ids": ids, "reason": "x"})
    assert answer.status_code == 403
    assert sql("SELECT count(*) FROM command") == [(0,)]


def test_scope_of_two_schools(district, sign_in):
    """A tablet of another school does not exist: not for asking, reading, listing or cancelling."""
    here, everywhere = sign_in("here", schools=["E1"]), sign_in("everywhere")
    far = district.tablets["far"]
    missing = here.ask(9999, "restart")
    hidden = here.ask(far, "restart")
    assert (hidden.status_code, hidden.json()["detail"]) == (missing.status_code, missing.json()["detail"])
    bulk = here.post("/commands", {"kind": "restart", "device_ids": [far], "serials": ["SERIALF"]}).json()
    assert [each["problem"] for each in bulk["refused"]] == ["not-found", "not-found"]
    theirs = everywhere.ask(far, "restart").json()["command"]["id"]
    assert here.get(f"/commands/{theirs}").status_code == 404
    assert here.post(f"/commands/{theirs}/cancel").status_code == 404
    assert here.get("/commands").json()["items"] == []
    assert here.get("/commands", device_id=far).json()["items"] == []
    nobody = sign_in("nobody", schools=[])
    assert nobody.ask(district.tablets["a"], "restart").status_code == 404


@pytest.mark.parametrize("role", list(Role))
def test_roles(district, sign_in, role):
    """What may be asked for, by one or by many, and taken back, is a matter of the kind and the role."""
    someone, hana = sign_in("someone", role), sign_in("hana")
    with db.transaction() as session:
        session.exec(update(Enrollment).values(lost_mode=True))
    others = [kind for kind in Kind if kind not in (Kind.RENEW_IDENTITY, Kind.LOST_MODE_OFF)]
    for kind in [*others, Kind.LOST_MODE_OFF]:
        words = MESSAGE if kind in (Kind.LOST_MODE_ON, Kind.LOCK_SCREEN) else {}
        body = {"kind": kind, "arguments": words, "reason": "stolen", "device_ids": [district.tablets["a"]]}
        expected = 202 if allowed(role, FACTS[kind].action) else 403
        one = someone.ask(district.tablets["a"], kind, reason="stolen", **words)
        assert one.status_code == someone.post("/commands", body).status_code == expected, kind
        waiting = hana.ask(district.tablets["b"], kind, reason="stolen", **words).json()["command"]["id"]
        cancelling = someone.post(f"/commands/{waiting}/cancel").status_code
        takes = allowed(role, FACTS[kind].action) and allowed(role, Action.CANCEL_COMMAND)
        assert cancelling == (200 if takes else 403), kind


def test_pages_and_filters(district, sign_in):
    """The list pages newest first and filters by tablet, kind and state."""
    hana = sign_in("hana")
    for name in ("a", "b", "far"):
        hana.ask(district.tablets[name], "restart")
        hana.ask(district.tablets[name], "inventory_device")
    first = hana.get("/commands", limit=4).json()
    second = hana.get("/commands", limit=4, cursor=first["next"]).json()
    kinds = [each["kind"] for each in first["items"] + second["items"]]
    assert (kinds, second["next"]) == (["inventory_device", "restart"] * 3, None)
    assert len(hana.get("/commands", serial="serialb").json()["items"]) == 2
    assert len(hana.get("/commands", kind="restart", state="queued").json()["items"]) == 3
    assert hana.get("/commands", state="done").json()["items"] == []


def test_jobs_ask_benign_things_only(district, sql):
    """The server's own jobs may take inventory off the record, but never ask for what cannot be undone."""
    with db.transaction() as session:
        [outcome] = queue.enqueue(session, "job:upkeep", [district.tablets["a"]], Kind.INVENTORY_DEVICE, {})
    assert outcome.fresh
    assert sql("SELECT count(*) FROM audit_event") == [(0,)]
    with pytest.raises(Forbidden), db.transaction() as session:
        queue.enqueue(session, "job:upkeep", [district.tablets["a"]], Kind.WIPE, {})


def test_secret_arguments_are_not_shown(district, sign_in, sql):
    """Arguments outside a kind's allow-list appear neither in the API nor in the trail."""
    with db.transaction() as session:
        queue.enqueue(session, "job:upkeep", [district.tablets["a"]], Kind.RENEW_IDENTITY, {"profile": "c2VjcmV0"})
    assert "c2VjcmV0" not in sign_in("hana").client.get("/api/v1/commands").text
    assert "c2VjcmV0" not in str(sql("SELECT a::text FROM audit_event a"))


def test_every_kind_has_its_facts():
    """No kind goes without a safety class, a lane and a lifetime."""
    assert set(FACTS) == set(Kind)
