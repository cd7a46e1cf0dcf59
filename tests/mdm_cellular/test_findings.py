"""Findings: suspected, open, gone, closed; one live row for each thing; who sees them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from mdm import clock, db
from mdm.app import operator_app
from mdm.auth import Role
from mdm.cellular import findings
from mdm.cellular.findings import Kind, Seen
from mdm.cli import build
from tests.mdm_cellular.conftest import audited
from tests.serving import serving

NOON = datetime(2026, 11, 20, 3, tzinfo=UTC)


@pytest.fixture
def at(monkeypatch):
    """Set the clock to so many hours after noon."""

    def set_to(hours):
        monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(hours=hours))

    set_to(0)
    return set_to


def see(kind, *seen, whole=False):
    with db.transaction() as session:
        return dict(findings.see(session, kind, seen, whole=whole))


def states(sql):
    return sql("SELECT state, times FROM sim_finding ORDER BY id")


def test_a_second_observation_opens(sims, sql, at):
    """The same observation told twice is one; another one makes it sure."""
    first = Seen("sim:1", sim_id=sims[1], evidence="a")
    assert see(Kind.SWAPPED_PAIR, first) == {"new": 1}
    at(1)
    assert see(Kind.SWAPPED_PAIR, first) == {}
    assert states(sql) == [("suspected", 1)]
    at(2)
    assert see(Kind.SWAPPED_PAIR, Seen("sim:1", sim_id=sims[1], evidence="b")) == {"opened": 1}
    at(3)
    assert see(Kind.SWAPPED_PAIR, Seen("sim:1", sim_id=sims[1], evidence="c")) == {}
    assert states(sql) == [("open", 3)]


def test_a_day_opens(sims, sql, at):
    """What has stood for 24 hours is open without anything new; what is sure is open at once."""
    once = Seen("sim:1", sim_id=sims[1], evidence="a")
    see(Kind.FOREIGN_SIM, once)
    at(23.9)
    assert see(Kind.FOREIGN_SIM, once) == {}
    at(24)
    assert see(Kind.FOREIGN_SIM, once) == {"opened": 1}
    assert see(Kind.SILENT_LINE, Seen("sim:2", sim_id=sims[2], sure=True)) == {"new": 1, "opened": 1}


def test_what_is_not_seen_any_more_has_gone(sims, sql, at):
    """A whole look ends what it does not see, of its kind only; seen again later, it begins anew."""
    see(Kind.FOREIGN_SIM, Seen("sim:1", sure=True), Seen("sim:2"))
    see(Kind.NOT_SEEN, Seen("sim:1"))
    assert see(Kind.FOREIGN_SIM, Seen("sim:2"), whole=True)["gone"] == 1
    assert sql("SELECT kind, subject, state FROM sim_finding ORDER BY id") == [
        ("foreign_sim", "sim:1", "gone"),
        ("foreign_sim", "sim:2", "suspected"),
        ("not_seen", "sim:1", "suspected"),
    ]
    assert see(Kind.FOREIGN_SIM, Seen("sim:1")) == {"new": 1}
    with db.transaction() as session:
        assert findings.gone(session, Kind.FOREIGN_SIM, ["sim:1", "sim:9"]) == 1
    at(24 * 91)
    with db.transaction() as session:
        assert findings.forget(session) == 1
    assert len(states(sql)) == 3


def test_high_ones_call_once(sims, sql, at):
    """Forty high findings of one look are one page without a number in it; normal ones call nobody."""
    see(Kind.UNUSUAL_USE, Seen("sim:1", sure=True))
    assert sql("SELECT count(*) FROM notice") == [(0,)]
    see(Kind.ROAMING, *(Seen(f"sim:{n}", sure=True) for n in range(40)))
    [(what, subject, details)] = sql("SELECT what, subject, details FROM notice")
    assert (what, subject, details["count"]) == ("sim_finding.open", "a line is used abroad (40)", 40)
    assert [row[0] for row in audited(sql)].count("sim_finding.open") == 2


def test_closed_by_a_person(boss, sims, sql, at):
    """It needs a reason, is on record without it, cannot be closed twice, and is quiet for as long as was said."""
    see(Kind.FOREIGN_SIM, Seen("sim:1", sim_id=sims[1], sure=True))
    [finding] = boss.get("sims/findings").json()["items"]
    path = f"sims/findings/{finding['id']}/closing"
    assert boss.post(path, json={}).status_code == 422
    closed = boss.post(path, json={"reason": "a test SIM of the desk", "quiet_days": 3}).json()
    assert (closed["state"], closed["closed_by"], closed["close_reason"]) == (
        "closed",
        "operator:boss",
        "a test SIM of the desk",
    )
    assert boss.post(path, json={"reason": "again"}).status_code == 409
    assert boss.post("sims/findings/999/closing", json={"reason": "x"}).status_code == 404
    assert audited(sql)[-1] == (
        "sim_finding.close",
        f"sim_finding:{finding['id']}",
        {"kind": "foreign_sim", "quiet_days": 3},
    )
    assert boss.get("sims/findings").json()["items"] == []
    at(24 * 3 - 1)
    assert see(Kind.FOREIGN_SIM, Seen("sim:1", sure=True)) == {}
    at(24 * 3 + 1)
    assert see(Kind.FOREIGN_SIM, Seen("sim:1", sure=True)) == {"new": 1, "opened": 1}


def test_who_sees_findings(boss, sign_in, sims, district):
    """A school's people see those of its tablets, without a word of another school's; others are not there for them."""
    other = {"other_device_id": district["T5"], "other_sim_id": 9}
    see(Kind.SWAPPED_PAIR, Seen("pair", sim_id=sims[1], device_id=district["T1"], details=other, sure=True))
    see(Kind.NOT_IN_LEDGER, Seen("sim:4", sim_id=sims[4], sure=True))
    [free, pair] = boss.get("sims/findings").json()["items"]
    assert (pair["control_number"], pair["other_control_number"], pair["school_code"]) == ("T1", "T5", "E1")
    assert (free["control_number"], free["account"], free["severity"]) == (None, "files-1", "normal")
    hana = sign_in("hana", Role.SUPPORT, "E1")
    [seen] = hana.get("sims/findings").json()["items"]
    assert (seen["id"], seen["other_control_number"]) == (pair["id"], None)
    assert not [name for name in seen["details"] if name.startswith("other")]
    assert hana.get(f"sims/findings/{free['id']}").status_code == 404
    assert hana.post(f"sims/findings/{free['id']}/closing", json={"reason": "x"}).status_code == 404
    assert sign_in("aki", Role.SCHOOL, "E1").get("sims/findings").status_code == 403
    see(Kind.ROAMING, Seen("sim:2", sim_id=sims[2], device_id=district["T2"], sure=True))
    desk = sign_in("desk", Role.LOSS_DESK)
    assert {each["kind"] for each in desk.get("sims/findings").json()["items"]} == {"swapped_pair", "not_in_ledger"}
    viewer = sign_in("view", Role.VIEWER)
    assert len(viewer.get("sims/findings", params={"limit": 1}).json()["items"]) == 1
    assert viewer.post(f"sims/findings/{pair['id']}/closing", json={"reason": "x"}).status_code == 403


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 2),
        ({"kind": "roaming"}, 1),
        ({"severity": "high"}, 1),
        ({"severity": "low"}, 0),
        ({"state": "suspected"}, 1),
        ({"school": "E1"}, 2),
        ({"school": "E2"}, 0),
        ({"control_number": "t2"}, 0),
        ({"control_number": "T2"}, 1),
    ],
)
def test_filters(boss, sims, district, at, filters, count):
    """All that is given must fit."""
    see(Kind.ROAMING, Seen("sim:1", sim_id=sims[1], device_id=district["T1"], sure=True))
    see(Kind.FOREIGN_SIM, Seen("device:2", device_id=district["T2"]))
    assert len(boss.get("sims/findings", params=filters).json()["items"]) == count


def test_findings_from_the_command_line(boss, sims, district, at, monkeypatch):
    """List, show and close."""
    see(Kind.FOREIGN_SIM, Seen("device:2", device_id=district["T2"], details={"slot": 1}, sure=True))
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", boss.headers["Authorization"].removeprefix("Bearer "))

        def tabane(*words):
            result = CliRunner().invoke(build("sims"), ["sims", "findings", *words], prog_name="tabane")
            assert result.exit_code == 0, result.output
            return result.stdout

        listed = tabane("list")
        assert "a foreign SIM is in a tablet" in listed
        assert "1 findings" in listed
        [finding] = json.loads(tabane("list", "--json", "--limit", "1"))
        assert "slot" in tabane("show", str(finding["id"]))
        assert "closed" in tabane("close", str(finding["id"]), "--reason", "known")
        assert "by operator:boss: known" in tabane("show", str(finding["id"]))
        assert "0 findings" in tabane("list")
