"""`tabane rollout` against a real server: plan, start in waves, steer, and the second person."""

import json

import pytest

from mdm.auth import credentials
from mdm.limits import limits
from mdm.limits.values import Name
from profiles.models import Rollout
from tests.profiles.rolling import go_on, holding, two_revisions

REASON = ("--reason", "an invented reason")


@pytest.fixture
def two(district):
    """Revision 1 everywhere, 2 to be brought."""
    two_revisions(district)


LIMITS = ("--failures", 50, "--settled", 80, "--proof", "--pulse-after", 60, "--silent-after", 90)


def begin(tabane, *words):
    status, out, err = tabane("rollout", "start", "--policy", "district", "--target", "fleet", "--json", *words)
    assert (status, err) == (0, "")
    return json.loads(out)


@pytest.mark.usefixtures("two")
def test_a_plan_says_whom_it_reaches_and_what_it_costs(tabane, district):
    """Waves, exclusions, schools, bytes, the end; nothing is started."""
    words = ("--policy", "district", "--target", "fleet", "--exclude", "serial=A", "--waves", "by_school")
    status, out, err = tabane("rollout", "plan", *words)
    assert (status, err) == (0, "")
    for line in (
        "3 tablets can be reached, 3 would hold something else",
        "  not counted: 1, left out: serial=A",
        "  wave 1 (0101): 2 tablets",
        "  wave 2 (0102): 1 tablets",
        "busiest: school 0101",
        "done at the present limits: 20",
    ):
        assert line in out
    assert json.loads(tabane("rollout", "plan", *words, "--json")[1])["gate"] == []
    assert holding(district, 1) == "ABCD"


@pytest.mark.usefixtures("two")
def test_a_rollout_is_steered_from_its_start_to_its_roll_back(tabane, district):
    """Wave by wave by hand, paused, resumed, and taken back."""
    begun = begin(tabane, "--list", "serial=A, serial=D", "--list", "school=0101", "--soak", 5, *LIMITS)
    assert [wave["name"] for wave in begun["waves"]] == ["serial=A, serial=D", "0101"]
    told = begun["thresholds"]
    assert (told["soak_s"], told["failures"], told["settle_share"]) == (5, 0.5, 0.8)
    assert (told["proof"], told["pulse_after_s"], told["silent_after_s"]) == (True, 60, 90)
    status, out, _ = tabane("rollout", "release", begun["id"], 1)
    assert (status, "wave 1 (serial=A, serial=D): 2 tablets, released, 2 pending" in out) == (0, True)
    assert "wave 2 (0101): 2 tablets, waiting" in out
    assert holding(district, 2) == "AD"
    for verb, state in (("pause", "paused"), ("resume", "running"), ("rollback", "rolled_back")):
        status, out, err = tabane("rollout", verb, begun["id"], *REASON)
        assert (status, err, f"to fleet: {state}" in out) == (0, "", True)
    go_on(district)
    assert holding(district, 1) == "ABCD"
    assert "taken back from 2: 0 heard since" in tabane("rollout", "show", begun["id"])[1]
    assert tabane("rollout", "watch", begun["id"])[0] == 1
    status, _, err = tabane("rollout", "abort", begun["id"], *REASON)
    assert (status, "rolled_back" in err) == (1, True)


@pytest.mark.usefixtures("two")
def test_the_second_person_approves_at_the_command_line(tabane, district, session, monkeypatch):
    """Whoever started it is told to wait, and cannot agree to it."""
    limits.set_limit(session, district.principal, Name.GATE, {"gb": 0})
    session.commit()
    held = begin(tabane)
    assert held["state"] == "held"
    out = tabane("rollout", "show", held["id"])[1]
    assert "waits for a second operator until" in out
    assert "more than 0 GB need a second operator" in out
    assert tabane("rollout", "watch")[0] == 1
    status, _, err = tabane("rollout", "approve", held["id"])
    assert (status, "a second operator must approve" in err) == (1, True)
    second = district.operator()
    monkeypatch.setenv("TABANE_TOKEN", credentials.open_session(session, second.id).secret)
    session.commit()
    status, out, _ = tabane("rollout", "approve", held["id"])
    assert (status, "to fleet: running" in out) == (0, True)
    assert holding(district, 2) == "ABCD"


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (("--waves", "sideways"), "/waves/kind"),
        (("--waves", "at_once", "--share", 5), "have no shares"),
        (("--window", "25:00-26:00"), "/schedule/windows/0"),
        (("--exclude", "school=9999"), "/exclude/0: school=9999 is not in the ledger"),
        (("--on-silence", "panic"), "/thresholds/on_silence"),
        (("--not-after", "2001-01-01T00:00+00:00"), "/schedule: not_after comes before any open time"),
    ],
)
@pytest.mark.usefixtures("two")
def test_what_is_not_understood_is_named_by_its_field(tabane, words, saying):
    """One line on standard error, with the pointer into what was asked."""
    status, out, err = tabane("rollout", "start", "--policy", "district", "--target", "fleet", *words)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert saying in err


@pytest.mark.usefixtures("two")
def test_the_way_is_written_in_the_options(tabane, district, session):
    """Each of them arrives where it belongs."""
    begun = begin(
        tabane,
        *("--share", 20, "--no-rings", "--window", "16:00-21:30", "--days", "days_off", "--spread", 60),
        *(
            "--not-before",
            "2026-04-06T18:00+09:00",
            "--silent",
            5,
            "--on-failures",
            "roll_back",
            "--on-silence",
            "hold",
        ),
    )
    row = session.get_one(Rollout, begun["id"])
    assert (row.waves["kind"], row.waves["shares"], row.waves["rings"]) == ("staged", [20.0], False)
    assert row.schedule["windows"] == ["16:00-21:30"]
    assert (row.schedule["days"], row.schedule["spread_s"]) == ("days_off", 60)
    assert row.schedule["not_before"].startswith("2026-04-06T09:00")
    assert (row.thresholds["silent"], row.thresholds["on_failures"], row.thresholds["on_silence"]) == (
        0.05,
        "roll_back",
        "hold",
    )
