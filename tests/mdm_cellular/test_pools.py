"""Accounts, plans with terms in time, pools with members in time; cycles and their borders."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.auth import Role
from mdm.cellular import cycles
from tests.mdm_cellular.conftest import csv_of, iccid, line

GB = 10**9
DAYS = st.dates(date(2020, 1, 1), date(2040, 12, 31))


@pytest.mark.parametrize(
    ("day", "anchor", "start", "end"),
    [
        ("2026-11-15", 1, "2026-11-01", "2026-12-01"),
        ("2026-12-31", 1, "2026-12-01", "2027-01-01"),
        ("2026-02-27", 31, "2026-01-31", "2026-02-28"),
        ("2026-02-28", 31, "2026-02-28", "2026-03-31"),
        ("2028-02-29", 30, "2028-02-29", "2028-03-30"),
        ("2026-03-30", 30, "2026-03-30", "2026-04-30"),
        ("2026-01-19", 20, "2025-12-20", "2026-01-20"),
    ],
)
def test_borders_of_cycles(day, anchor, start, end) -> None:
    """Anchors of 29 to 31 mean the last day of a month that is shorter."""
    cycle = cycles.of_day(date.fromisoformat(day), anchor)
    assert (cycle.start.isoformat(), cycle.end.isoformat()) == (start, end)


@given(DAYS, st.integers(1, 31))
def test_cycles_are_seamless(day, anchor) -> None:
    """Each day is in one cycle of 28 to 31 days, and the cycles before and after it touch."""
    cycle = cycles.of_day(day, anchor)
    assert cycle.start <= day < cycle.end
    assert 28 <= cycle.days <= 31
    assert cycles.before(cycle, anchor).end == cycle.start
    assert cycles.after(cycle, anchor).start == cycle.end


def test_a_cycle_begins_by_the_billing_clock() -> None:
    """A month ends at midnight in Japan, which is 15:00 UTC the day before."""
    last = datetime(2026, 11, 30, 14, 59, tzinfo=UTC)
    assert cycles.at(last, 1, "Asia/Tokyo").start == date(2026, 11, 1)
    assert cycles.at(last.replace(hour=15, minute=0), 1, "Asia/Tokyo").start == date(2026, 12, 1)
    assert cycles.begins(date(2026, 12, 1), "Asia/Tokyo") == datetime(2026, 11, 30, 15, tzinfo=UTC)


@pytest.fixture
def pool(boss):
    """The pool `share-1` of `files-1`; return its id."""
    return boss.post("pools", json={"account": "files-1", "name": "share-1", "throttle_bps": 300_000}).json()["id"]


def plan_id(boss) -> int:
    [plan] = boss.get("plans").json()
    return plan["id"]


def test_terms_in_time(boss, sims, sql) -> None:
    """A plan comes with the file; its terms follow each other without a gap, and what was in force stays."""
    plan = plan_id(boss)
    first = {
        "allowance_bytes": 3 * GB,
        "overage": "throttle",
        "price_yen": "980.00",
        "effective": "2026-01-01T00:00+09:00",
    }
    assert boss.post(f"plans/{plan}/terms", json=first).status_code == 201
    second = boss.post(f"plans/{plan}/terms", json={"allowance_bytes": 7 * GB, "price_yen": 1200}).json()
    assert (second["allowance_bytes"], second["price_yen"], second["valid_to"]) == (7 * GB, "1200.00", None)
    newest, oldest = boss.get("plans").json()[0]["versions"]
    assert oldest["valid_to"] == newest["valid_from"]
    assert oldest["price_yen"] == "980.00"
    assert sql("SELECT extract(day FROM valid_from AT TIME ZONE 'Asia/Tokyo')::int FROM plan_version ORDER BY 1") == [
        (1,),
        (1,),
    ]
    early = boss.post(f"plans/{plan}/terms", json={"effective": "2026-02-01T00:00+09:00"})
    assert early.status_code == 422
    assert boss.get("plans", params={"account": "nobody"}).json() == []


@pytest.mark.parametrize(
    "terms",
    [
        {"allowance_bytes": -1},
        {"allowance_bytes": 10**16},
        {"allowance_bytes": 1.5},
        {"price_yen": -5},
        {"price_yen": "NaN"},
        {"unit_base": 1023},
        {"effective": "2026-01-01T00:00"},
        {"effective": "soon"},
        {"gift": 1},
    ],
)
def test_absurd_terms_are_refused(boss, sims, terms) -> None:
    """Negative, fractional, endless and unknown ones, and an instant without its offset."""
    assert boss.post(f"plans/{plan_id(boss)}/terms", json=terms).status_code == 422


def test_lines_join_with_the_next_cycle(boss, sims, pool, sql) -> None:
    """Planned, they count neither lines nor allowance yet; what is planned can be planned otherwise, history stays."""
    terms = {"allowance_bytes": 7 * GB, "effective": "2026-01-01T00:00+09:00"}
    boss.post(f"plans/{plan_id(boss)}/terms", json=terms)
    ids = [sims[1], sims[2]]
    moved = boss.post(f"pools/{pool}/members", json={"sim_ids": ids, "reason": "new year"}).json()
    assert (moved["moved"], moved["unchanged"]) == (2, 0)
    [(day, hour)] = sql(
        "SELECT DISTINCT extract(day FROM valid_from AT TIME ZONE 'Asia/Tokyo')::int,"
        " extract(hour FROM valid_from AT TIME ZONE 'Asia/Tokyo')::int FROM pool_membership"
    )
    assert (day, hour) == (1, 0)
    shown = boss.get(f"pools/{pool}").json()
    assert (shown["sims"], shown["joining"], shown["allowance_bytes"]) == (0, 2, 0)
    again = boss.post(f"pools/{pool}/members", json={"sim_ids": ids, "reason": "twice"}).json()
    assert (again["moved"], again["unchanged"]) == (0, 2)
    boss.post(f"pools/{pool}/members", json={"sim_ids": ids, "reason": "at once", "effective": "now"})
    shown = boss.get(f"pools/{pool}").json()
    assert (shown["sims"], shown["joining"], shown["allowance_bytes"]) == (2, 0, 14 * GB)
    gone = {"sim_ids": [sims[2], sims[3]], "leave": True, "reason": "plan change"}
    assert boss.post(f"pools/{pool}/members", json=gone).json()["moved"] == 1
    shown = boss.get("pools").json()[0]
    assert (shown["sims"], shown["leaving"], shown["allowance_bytes"]) == (2, 1, 14 * GB)
    [membership] = boss.get(f"sims/{sims[2]}").json()["memberships"]
    assert (membership["pool"], membership["valid_to"] is None) == ("share-1", False)
    assert [sim["id"] for sim in boss.get("sims", params={"pool": "share-1"}).json()["items"]] == ids


def test_one_pool_at_a_time(boss, sims, pool) -> None:
    """Another pool takes a line over at the instant at which the first loses it; pools keep to their account."""
    other = boss.post("pools", json={"account": "files-1", "name": "share-2", "allowance_bytes": 5 * GB}).json()["id"]
    now = {"sim_ids": [sims[1]], "reason": "x", "effective": "now"}
    boss.post(f"pools/{pool}/members", json=now)
    assert boss.post(f"pools/{other}/members", json=now).json()["moved"] == 1
    newest, oldest = boss.get(f"sims/{sims[1]}").json()["memberships"]
    assert (newest["pool"], oldest["pool"], oldest["valid_to"]) == ("share-2", "share-1", newest["valid_from"])
    assert boss.get(f"pools/{other}").json()["allowance_bytes"] == 5 * GB
    assert boss.post(f"pools/{pool}/members", json=now | {"sim_ids": [999]}).status_code == 422
    early = now | {"effective": "2020-01-01T00:00+09:00"}
    assert boss.post(f"pools/{pool}/members", json=early).status_code == 422
    assert boss.post("pools/999/members", json=now).status_code == 404
    assert boss.post("pools", json={"account": "files-1", "name": "share-2"}).status_code == 409
    extra = boss.post(f"pools/{other}/extra", json={"bytes": 2 * GB, "reason": "November"}).json()
    assert (extra["extra_bytes"], extra["allowance_bytes"]) == (2 * GB, 7 * GB)
    assert boss.post(f"pools/{other}/extra", json={"bytes": 0, "reason": "x"}).status_code == 422


def test_a_file_says_which_pool(boss, upload, sims, pool) -> None:
    """A first pool counts from the beginning of the present cycle, a change from the next; the same is nothing."""
    boss.post("pools", json={"account": "files-1", "name": "share-2"})
    assert upload(csv_of({"iccid": iccid(1), "pool": "share-1"}, line(9, pool="share-1"))).json()["changed"] == 1
    assert boss.get(f"pools/{pool}").json()["sims"] == 2
    assert upload(csv_of({"iccid": iccid(1), "pool": "share-1"})).json()["unchanged"] == 1
    assert upload(csv_of({"iccid": iccid(1), "pool": "share-2"})).json()["changed"] == 1
    newest, oldest = boss.get(f"sims/{sims[1]}").json()["memberships"]
    assert (newest["pool"], newest["valid_to"], oldest["valid_to"]) == ("share-2", None, newest["valid_from"])
    assert boss.get(f"pools/{pool}").json()["leaving"] == 1


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": "Bad Name"}, "/name"),
        ({"base_url": ""}, "/base_url"),
        ({"base_url": "http://carrier.example"}, "/base_url"),
        ({"base_url": "https://user:pw@carrier.example"}, "/base_url"),
        ({"base_url": "file:///etc/passwd"}, "/base_url"),
        ({"secret_name": "../secret.key"}, "/secret_name"),
        ({"secret_name": "/etc/passwd"}, "/secret_name"),
        ({"billing_tz": "Mars/Olympus"}, "/billing_tz"),
        ({"usage_tz": "../../etc/passwd"}, "/usage_tz"),
        ({"kind": "csv"}, "/base_url"),
    ],
)
def test_an_account_that_will_not_do(boss, fields, pointer) -> None:
    """Addresses that would carry a secret in clear or hold one, names that are paths, zones that are none."""
    body = {"name": "soracom-1", "kind": "soracom", "base_url": "https://carrier.example/v1", "secret_name": "s.json"}
    assert boss.post("carriers/accounts", json=body).status_code == 201
    answer = boss.post("carriers/accounts", json=body | {"name": "second"} | fields)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert "pw" not in answer.text
    if "name" not in fields and "kind" not in fields:
        assert boss.patch("carriers/accounts/soracom-1", json=fields).status_code == 422


def test_accounts_are_the_boards(boss, sign_in, sql) -> None:
    """An administrator of all schools adds and changes them; the record names fields and not what is in them."""
    changed = boss.patch("carriers/accounts/files-1", json={"cycle_anchor_day": 20, "options": {"a": "b"}}).json()
    assert (changed["cycle_anchor_day"], changed["mapping_version"]) == (20, 1)
    [(details,)] = sql("SELECT details FROM audit_event WHERE action = 'carrier.change'")
    assert details == {"fields": ["cycle_anchor_day", "options"]}
    half = sign_in("half", Role.ADMINISTRATOR, "E1")
    assert half.patch("carriers/accounts/files-1", json={"enabled": False}).status_code == 403
    assert half.get("carriers/accounts/files-1").status_code == 200
    viewer = sign_in("viewer", Role.VIEWER)
    assert [account["name"] for account in viewer.get("carriers/accounts").json()] == ["files-1"]
    assert viewer.post("pools", json={"account": "files-1", "name": "x"}).status_code == 403
    assert boss.post("carriers/accounts", json={"name": "files-1", "kind": "csv"}).status_code == 409
