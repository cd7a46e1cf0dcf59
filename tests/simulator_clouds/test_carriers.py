"""The pretended carriers check what the real ones would: sessions, pages, parameters, pace and calls in flight."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from simulator.clouds.carrier_script import Fault, Mishap, Script
from simulator.clouds.control_center import ControlCenterCloud
from simulator.clouds.icms import GROUPS, TENANT, IcmsCloud
from simulator.clouds.lines import Lines, invented_numbers, with_check_digit
from simulator.clouds.soracom import SoracomCloud
from tests.serving import serving

BASIC = ("invented", "key")
SINCE = "2000-01-01T00:00:00+00:00"


@pytest.fixture
def control_center():
    cloud = ControlCenterCloud(invented_numbers(60), username=BASIC[0], api_key=BASIC[1])
    with serving(cloud) as url, httpx2.Client(base_url=f"{url}/rws/api/v1", auth=BASIC, timeout=10) as client:
        yield cloud, client


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/devices", {}, 400),
        ("/devices", {"modifiedSince": "yesterday"}, 400),
        ("/devices", {"modifiedSince": SINCE, "pageSize": 51}, 400),
        ("/devices", {"modifiedSince": SINCE, "pageSize": 50}, 200),
        ("/usages", {}, 400),
        ("/usages", {"ratePlanName": "unknown"}, 404),
        ("/usages", {"ratePlanName": "GIGA 7GB", "cycleStartDate": "2026-01-17"}, 400),
        ("/devices/8981", {}, 404),
    ],
)
def test_control_center_wants_its_parameters(control_center, path, params, status):
    """What is missing or too much is refused as the documentation says."""
    _, client = control_center
    assert client.get(path, params=params).status_code == status


def test_control_center_takes_five_calls_a_second_and_one_at_a_time(control_center):
    """The sixth call within a second, and a second one beside another, are asked to wait."""
    cloud, client = control_center
    answers = [client.get("/devices", params={"modifiedSince": SINCE}) for _ in range(7)]
    assert Counter(answer.status_code for answer in answers) == {200: 5, 429: 2}
    assert answers[-1].headers["Retry-After"] == "1"
    assert [call.mishap for call in cloud.journal].count("too fast") == 2


def test_control_center_wants_the_name_and_the_key(control_center):
    """Neither nobody nor a wrong key gets in."""
    _, client = control_center
    for auth in (None, ("invented", "wrong")):
        with httpx2.Client(base_url=client.base_url, auth=auth) as other:
            assert other.get("/devices", params={"modifiedSince": SINCE}).status_code == 401


def test_calls_beside_one_another_are_refused(control_center):
    """Of two calls at the same time one is asked to wait, and the most at a time is on record."""
    cloud, client = control_center
    cloud.script.latency_s = 0.3
    statuses = []

    def call():
        statuses.append(client.get("/devices", params={"modifiedSince": SINCE}).status_code)

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 429]
    assert cloud.most_in_flight == 2


def test_soracom_wants_a_live_session_and_a_period_that_is_over():
    """No headers, a session after its time, another operator's export and one from the future are refused."""
    clock = {"now": datetime.now(UTC)}
    cloud = SoracomCloud(invented_numbers(5), key_id="keyId-x", key="secret-x", clock=lambda: clock["now"])
    with serving(cloud) as url, httpx2.Client(base_url=f"{url}/v1", timeout=10) as client:
        assert client.get("/sims").status_code == 401
        assert client.post("/auth", json={"authKeyId": "keyId-x", "authKey": "wrong"}).status_code == 401
        body = {"authKeyId": "keyId-x", "authKey": "secret-x"}
        assert client.post("/auth", json=body | {"tokenTimeoutSeconds": 200_000}).status_code == 400
        answer = client.post("/auth", json=body | {"tokenTimeoutSeconds": 60}).json()
        headers = {"X-Soracom-API-Key": answer["apiKey"], "X-Soracom-Token": answer["token"]}
        now = int(clock["now"].timestamp())
        order = {"from": now - 86400, "to": now, "period": "day"}
        for operator, change, status in [
            ("OP0012345678", {}, 200),
            ("OP0000000000", {}, 404),
            ("OP0012345678", {"to": now + 86400}, 400),
            ("OP0012345678", {"from": now - 600 * 86400}, 400),
        ]:
            path = f"/stats/air/operators/{operator}/export"
            asked = client.post(path, params={"export_mode": "async"}, json=order | change, headers=headers)
            assert asked.status_code == status
        assert client.get("/sims", params={"limit": 101}, headers=headers).status_code == 400
        clock["now"] += timedelta(seconds=61)
        assert client.get("/sims", headers=headers).status_code == 401


def test_icms_wants_its_tenant_group_and_month():
    """A token opens its own tenant only, and a table is asked for by group and month."""
    cloud = IcmsCloud(invented_numbers(5), api_key="k", api_secret="s")
    with serving(cloud) as url, httpx2.Client(base_url=url, timeout=10) as client:
        user = {"domain": {"id": "default"}, "name": "k", "password": "s"}
        identity = {"methods": ["password"], "password": {"user": user}}
        auth = {"auth": {"identity": identity, "scope": {"project": {"id": TENANT}}}}
        token = client.post("/keystone/v3/auth/tokens", json=auth).headers["X-Subject-Token"]
        for tenant, group, params, status in [
            (TENANT, GROUPS[0], {"date": "2026-05"}, 200),
            (TENANT, GROUPS[0], {"date": "2026-13"}, 400),
            (TENANT, GROUPS[0], {"date": "2026-05", "limit": 1001}, 400),
            (TENANT, "none", {"date": "2026-05"}, 400),
            ("f" * 32, GROUPS[0], {"date": "2026-05"}, 403),
        ]:
            path = f"/icms-esim/v2/tenants/{tenant}/gui/simGroups/{group}/monthlyUsage"
            assert client.get(path, params=params, headers={"X-Auth-Token": token}).status_code == status


def test_the_witness_is_the_same_for_the_same_seed_and_tells_what_was_carried():
    """The same seed tells the same bytes; a suspended line uses nothing from then on, and the past stays as it was."""
    clock = {"now": datetime(2026, 5, 20, 12, tzinfo=UTC)}

    def made():
        return Lines(
            invented_numbers(3, seed=4),
            script=Script(),
            words={"status": "active"},
            carrying=frozenset({"active"}),
            seed=4,
            clock=lambda: clock["now"],
        )

    lines, again = made(), made()
    today = lines.today()
    before = lines.witness(today - timedelta(days=9), today)
    assert before == again.witness(today - timedelta(days=9), today)
    lines.ask(lines.all[0], {"status": "suspended"})
    clock["now"] += timedelta(days=2)
    after = lines.witness(today - timedelta(days=9), today + timedelta(days=2))
    first = lines.all[0].iccid
    assert after[first] == before[first]
    assert sum(sum(days.values()) for days in after.values()) > sum(sum(days.values()) for days in before.values())


def test_the_control_routes_show_the_witness_and_change_the_script():
    """Other processes read journal, orders and bytes, change the script, and put a SIM into another radio."""
    cloud = SoracomCloud(invented_numbers(3), key_id="keyId-x", key="secret-x")
    one = cloud.lines.all[0]
    today = cloud.lines.today()
    with serving(cloud) as url, httpx2.Client(base_url=url, timeout=10) as client:
        assert client.post("/v1/auth", json={}).status_code == 401
        assert [call["status"] for call in client.get("/_control/journal").json()] == [401]
        days = {"first": str(today - timedelta(days=2)), "last": str(today - timedelta(days=1))}
        assert client.get("/_control/bytes", params=days).json() == cloud.lines.witness(
            today - timedelta(days=2), today - timedelta(days=1)
        )
        faults = [{"mishap": "busy", "every": 1, "times": 1}]
        client.patch("/_control/script", json={"status_takes_s": 5, "faults": faults})
        assert (cloud.script.status_takes_s, cloud.script.faults) == (5, [Fault(Mishap.BUSY, 1, 1)])
        other = with_check_digit("35000000000009")
        client.patch(f"/_control/lines/{one.iccid}", json={"imei": other})
        assert client.get("/_control/lines").json()[0]["imei"] == other
        assert client.post("/v1/auth", json={}).status_code == 429
