"""Cases and the lines of their tablets, with a pretended carrier behind the inventory."""

from datetime import timedelta

import pytest

from mdm.auth import Role
from tests.mdm_cellular.pretended import pretending
from tests.mdm_support.conftest import asked, happened
from workers import cases


@pytest.fixture
def air(sign_in, district, valkey, tmp_path, monkeypatch):
    """A pretended carrier that takes three minutes for everything; its first line is in tablet A."""
    client = sign_in("boss", Role.ADMINISTRATOR).client
    client.base_url = "http://testserver/api/v1/"
    with pretending(client, tmp_path, monkeypatch) as pretended:
        pretended.rounds("sims")
        sim = pretended.sim(0)["id"]
        body = {"device_id": district.tablets["a"], "reason": "delivered"}
        assert client.post(f"sims/{sim}/binding", json=body).status_code == 200
        pretended.script.status_takes_s = 180
        yield pretended


@pytest.fixture
def loss(sign_in):
    """Somebody of the contractor's loss desk."""
    return sign_in("loss", Role.LOSS_DESK)


def sim_lines(case) -> list[str]:
    """Return what the case's timeline says of the carrier."""
    return [each["details"]["carrier"] for each in case["timeline"] if each["what"] == "sim"]


def locked(loss, says):
    """Open a case and let the tablet say that it is locked; return its path."""
    case = loss.open(serial="SERIALA")
    says(asked(case, "lock"), "done")
    return f"/cases/{case['id']}"


SUSPEND = {"wish": "suspend", "reason": "it has not come back"}


def test_a_case_cuts_the_line_and_opens_it_again(air, loss, says):
    """After the lock has landed the carrier is asked; its late word is on the timeline; found, the line is opened."""
    case = loss.open(serial="SERIALA")
    path = f"/cases/{case['id']}"
    assert loss.post(f"{path}/sim", SUSPEND, expect=409)["type"].endswith("sim-gate")
    says(asked(case, "lock"), "done")
    case = loss.post(f"{path}/sim", SUSPEND, expect=202)
    assert (case["sim_wanted"], sim_lines(case)) == ("suspended", ["asked"])
    air.acts()
    cases.tend()
    assert sim_lines(loss.get(path)) == ["asked"]
    unproved = loss.get(f"{path}/incident-report")["open_points"]
    assert "the SIM is to be suspended; no carrier has confirmed it" in unproved
    air.clock.ahead += timedelta(seconds=181)
    air.acts()
    cases.tend()
    cases.tend()
    assert sim_lines(loss.get(path)) == ["asked", "effective"]
    assert not [each for each in loss.get(f"{path}/incident-report")["open_points"] if "SIM" in each]
    case = loss.post(f"{path}/found")
    assert case["sim_wanted"] == "active"
    says(asked(case, "unlock"), "done")
    air.acts()
    cases.tend()
    assert loss.get(path)["closed_at"] is None, "its line is not open yet"
    air.clock.ahead += timedelta(seconds=181)
    air.acts()
    cases.tend()
    case = loss.get(path)
    assert (case["state"], air.sim(0)["effective_status"]) == ("closed_found", "active")
    assert sim_lines(case) == ["asked", "effective", "asked", "effective"]


def test_found_while_the_carrier_is_still_at_it(air, loss, says):
    """What can no longer be taken back is undone as soon as it is over, and the case waits for that."""
    path = locked(loss, says)
    loss.post(f"{path}/sim", SUSPEND, expect=202)
    air.acts()
    case = loss.post(f"{path}/found")
    assert (case["sim_wanted"], sim_lines(case)) == ("active", ["asked", "none"])
    loss.post(f"{path}/close", {"outcome": "closed_found"}, expect=409)
    says(asked(case, "unlock"), "done")
    cases.tend()
    assert loss.get(path)["closed_at"] is None
    air.clock.ahead += timedelta(seconds=181)
    air.acts()
    assert air.sim(0)["effective_status"] == "suspended"
    cases.tend()
    air.acts()
    air.clock.ahead += timedelta(seconds=181)
    air.acts()
    cases.tend()
    assert (loss.get(path)["state"], air.sim(0)["effective_status"]) == ("closed_found", "active")


def test_found_before_anything_was_sent(air, loss, says):
    """A suspension that has not left is taken back, and the line that was never cut is asked for once."""
    path = locked(loss, says)
    loss.post(f"{path}/sim", SUSPEND, expect=202)
    case = loss.post(f"{path}/found")
    assert "found" in happened(case)
    for _ in range(2):
        air.acts()
    assert [order.changes for order in air.cloud.orders] == [{"status": "active"}]


def test_a_tablet_without_a_line_keeps_the_wish(air, loss):
    """Where no carrier can be asked the wish is on the case, and the answer says so."""
    case = loss.open(serial="SERIALB")
    path = f"/cases/{case['id']}"
    assert loss.post(f"{path}/sim", {"wish": "resume"}, expect=409)["type"].endswith("no-carrier")
    assert sim_lines(loss.get(path)) == ["none"]


def test_the_line_of_a_thiefs_device_is_cut_at_once(air, loss, sql):
    """Seen in a device that is not ours, the SIM is no way to the tablet any more, and the lock cannot come by it."""
    sql("UPDATE device SET imei = '352099001761481' WHERE serial = 'SERIALA'")
    case = loss.open("stolen", serial="SERIALA")
    assert loss.post(f"/cases/{case['id']}/sim", SUSPEND, expect=202)["sim_wanted"] == "suspended"
