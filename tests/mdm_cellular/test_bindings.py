"""SIMs in tablets, in time: bind, unbind, exchange, hand over, by the ledger; and who may see and do what."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError

from mdm import db
from mdm.auth import Role
from mdm.cellular import bindings
from tests.mdm_cellular.conftest import audited, csv_of, iccid, imsi, line

REASON = {"reason": "the tray was opened"}


def where(boss) -> dict[str, int]:
    return {sim["control_number"]: sim["id"] for sim in boss.get("sims", params={"bound": True}).json()["items"]}


def test_a_sim_is_bound_and_unbound(boss, sims, district, sql) -> None:
    """It is in one tablet from then to then; the ledger's ICCID goes along; the record has ids and no reason."""
    bound = boss.post(f"sims/{sims[4]}/binding", json={"device_id": district["T4"], **REASON})
    assert (bound.status_code, bound.json()["control_number"]) == (200, "T4")
    assert sql("SELECT iccid FROM device WHERE control_number = 'T4'") == [(iccid(4),)]
    over = boss.post(f"sims/{sims[4]}/unbinding", json=REASON).json()
    assert (over["source"], over["bound_by"], over["ended_by"]) == ("operator", "operator:boss", "operator:boss")
    assert over["end_reason"] == REASON["reason"]
    assert boss.post(f"sims/{sims[4]}/unbinding", json=REASON).status_code == 409
    assert sql("SELECT iccid FROM device WHERE control_number = 'T4'") == [(None,)]
    acts = audited(sql)[-2:]
    assert [(action, details) for action, _, details in acts] == [
        ("sim.bind", {"device": district["T4"], "source": "operator"}),
        ("sim.unbind", {"device": district["T4"], "source": "operator"}),
    ]


def test_nobody_is_pushed_out(boss, sims, district) -> None:
    """A tablet with a SIM and a SIM in a tablet refuse another; binding what is bound so already is nothing."""
    taken = boss.post(f"sims/{sims[4]}/binding", json={"device_id": district["T1"], **REASON})
    assert (taken.status_code, taken.json()["detail"]) == (
        409,
        f"the tablet has SIM {sims[1]}: unbind that first, or exchange",
    )
    elsewhere = boss.post(f"sims/{sims[1]}/binding", json={"device_id": district["T4"], **REASON})
    assert "the SIM is in tablet T1" in elsewhere.json()["detail"]
    assert boss.post(f"sims/{sims[1]}/binding", json={"device_id": district["T1"], **REASON}).status_code == 200
    assert len(boss.get(f"sims/{sims[1]}").json()["bindings"]) == 1
    assert boss.post("sims/999/binding", json={"device_id": district["T4"], **REASON}).status_code == 404
    assert boss.post(f"sims/{sims[4]}/binding", json={"device_id": 999, **REASON}).status_code == 404


def test_two_tablets_exchange(boss, sims, district, sql) -> None:
    """One call puts both right, at one instant; with a tablet that has none it is handed over instead."""
    pair = {"device_id": district["T1"], "other_device_id": district["T2"], **REASON}
    now = boss.post("sims/exchanges", json=pair).json()
    assert [(sim["id"], sim["control_number"]) for sim in now] == [(sims[2], "T1"), (sims[1], "T2")]
    assert sql("SELECT count(DISTINCT valid_to) FROM sim_binding WHERE valid_to IS NOT NULL") == [(1,)]
    spare = {"device_id": district["T1"], "other_device_id": district["T4"], **REASON}
    assert boss.post("sims/exchanges", json=spare).status_code == 409
    assert boss.post("sims/exchanges", json=spare | {"hand_over": True}).status_code == 200
    assert where(boss) == {"T4": sims[2], "T2": sims[1], "T3": sims[3]}
    assert boss.post("sims/exchanges", json=spare | {"hand_over": True}).status_code == 409
    assert boss.post("sims/exchanges", json=pair | {"other_device_id": district["T1"]}).status_code == 422
    assert sql("SELECT control_number, iccid FROM device WHERE iccid IS NOT NULL ORDER BY 1") == [
        ("T2", iccid(1)),
        ("T3", iccid(3)),
        ("T4", iccid(2)),
    ]


def test_told_later_than_done(boss, sims, district, sql) -> None:
    """A change may be dated back, not before what was there began, not by months, and not ahead."""
    sql("UPDATE sim_binding SET valid_from = now() - interval '10 days'")

    def unbind(days):
        since = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        return boss.post(f"sims/{sims[1]}/unbinding", json={**REASON, "since": since})

    assert unbind(11).status_code == 409
    assert unbind(100).status_code == 422
    assert unbind(-1).status_code == 422
    assert unbind(3).status_code == 200
    since = (datetime.now(UTC) - timedelta(days=5)).isoformat()
    back = boss.post(f"sims/{sims[4]}/binding", json={"device_id": district["T1"], **REASON, "since": since})
    assert back.status_code == 409
    [(days,)] = sql("SELECT extract(day FROM now() - valid_to)::int FROM sim_binding WHERE valid_to IS NOT NULL")
    assert days == 3


def test_the_database_holds_it(sims, district, sql) -> None:
    """Whoever writes past the rules: no SIM in two tablets, no tablet with two SIMs at one time."""
    for sim, device in ((sims[1], district["T4"]), (sims[4], district["T1"])):
        with pytest.raises(IntegrityError) as refused:
            sql(
                "INSERT INTO sim_binding (sim_id, device_id, valid_from, source, bound_by)"
                f" VALUES ({sim}, {device}, now() - interval '1 year', 'operator', 'x')"
            )
        assert isinstance(refused.value.orig, psycopg.errors.ExclusionViolation)


def test_many_at_once_leave_one(boss, sims, district) -> None:
    """Eight requests that want the same free tablet for two SIMs: one binding stands, the losers are told."""
    free = [sims[4], sims[1]]
    boss.post(f"sims/{sims[1]}/unbinding", json=REASON)
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda n: boss.post(f"sims/{free[n % 2]}/binding", json={"device_id": district["T6"], **REASON}),
                range(8),
            )
        )
    assert sorted({answer.status_code for answer in answers}) == [200, 409]
    assert len([each for each in where(boss) if each == "T6"]) == 1


def test_the_ledger_is_followed(boss, upload, sims, district, sql) -> None:
    """An ICCID that comes into the ledger, in any form, binds; one that moves, moves; one that goes ends nothing."""
    sql("UPDATE device SET iccid = :short WHERE control_number = 'T4'", short=iccid(4)[:18])
    sql("UPDATE device SET iccid = NULL WHERE control_number = 'T1'")
    sql(
        "UPDATE device SET iccid = CASE control_number WHEN 'T2' THEN :b ELSE :a END"
        " WHERE control_number IN ('T2', 'T3')",
        a=iccid(2),
        b=iccid(3),
    )
    sql("UPDATE device SET iccid = :stranger WHERE control_number = 'T6'", stranger=iccid(77))
    with db.transaction() as session:
        assert bindings.follow_ledger(session) == 3
    with db.transaction() as session:
        assert bindings.follow_ledger(session) == 0
    assert where(boss) == {"T1": sims[1], "T2": sims[3], "T3": sims[2], "T4": sims[4]}
    assert boss.get(f"sims/{sims[4]}").json()["bindings"][0]["source"] == "ledger"
    assert sql("SELECT iccid FROM device WHERE control_number = 'T4'") == [(iccid(4)[:18],)]
    action, _, details = audited(sql)[-1]
    assert (action, details["count"]) == ("sim.bind_by_ledger", 3)
    # A SIM that becomes known later is bound when it does.
    assert upload(csv_of({"iccid": iccid(77)})).json()["bound"] == 1
    assert where(boss)["T6"] == 5


def test_two_tablets_with_one_iccid_say_nothing(boss, sims, sql) -> None:
    """What the ledger says twice, in two forms, is not followed."""
    sql("UPDATE device SET iccid = :full WHERE control_number = 'T4'", full=iccid(4))
    sql("UPDATE device SET iccid = :short WHERE control_number = 'T5'", short=iccid(4)[:18])
    with db.transaction() as session:
        assert bindings.follow_ledger(session) == 0
    assert set(where(boss)) == {"T1", "T2", "T3"}


def test_scope(boss, upload, sims, district, sign_in) -> None:
    """For people of one school its tablets' SIMs exist and no others; a refusal does not tell where a SIM is."""
    upload(csv_of(line(9, "T5")))
    hana = sign_in("hana", Role.SUPPORT, "E1")
    assert [sim["control_number"] for sim in hana.get("sims").json()["items"]] == ["T1", "T2", "T3"]
    other = boss.get("sims", params={"control_number": "T5"}).json()["items"][0]["id"]
    assert hana.get(f"sims/{other}").status_code == 404
    assert hana.get(f"sims/{sims[4]}").status_code == 404
    hidden = hana.post(f"sims/{other}/binding", json={"device_id": district["T4"], **REASON})
    assert (hidden.status_code, "T5" in hidden.text) == (404, False)
    assert hana.post(f"sims/{sims[4]}/binding", json={"device_id": district["T6"], **REASON}).status_code == 404
    pair = {"device_id": district["T1"], "other_device_id": district["T5"], **REASON}
    assert hana.post("sims/exchanges", json=pair).status_code == 404
    assert hana.get("sims/export").text.count("\r\n") == 4
    boss.post(f"sims/{other}/unbinding", json=REASON)
    assert hana.post(f"sims/{other}/binding", json={"device_id": district["T4"], **REASON}).status_code == 200
    assert [each["control_number"] for each in hana.get(f"sims/{other}").json()["bindings"]] == ["T4"]


@pytest.mark.parametrize("role", Role)
def test_who_sees_what(boss, sims, district, sign_in, role) -> None:
    """Numbers in full for those who need them, their ends for other staff, nothing for schools; never a person."""
    full = role in (Role.ADMINISTRATOR, Role.SUPPORT, Role.OPERATION)
    client = sign_in("who", role)
    answer = client.get("sims", params={"control_number": "T1"})
    if role is Role.SCHOOL:
        assert answer.status_code == 403
        return
    [sim] = answer.json()["items"]
    assert (sim["iccid"], sim["imsi"]) == ((iccid(1), imsi(1)) if full else (f"…{iccid(1)[-4:]}", f"…{imsi(1)[-4:]}"))
    assert sim["control_number"] == "T1"
    fields = set(sim) | set(client.get(f"sims/{sims[1]}").json())
    assert not fields & {"user_id", "holder", "holder_id", "name", "class", "class_name", "year"}
    assert (client.get("sims/export").status_code == 200) is full
    changed = client.post(f"sims/{sims[1]}/unbinding", json=REASON)
    assert (changed.status_code == 200) is full


def test_an_export_comes_back(boss, upload, sims, sql) -> None:
    """What is exported, in either language, is imported without a change, and no cell of it is run by a spreadsheet."""
    sql("UPDATE sim SET carrier_status = '=HYPERLINK(1)' WHERE id = 1")
    for english in (False, True):
        content = boss.get("sims/export", params={"english": english}).content
        assert b",'=HYPERLINK(1)," in content
        report = upload(content.replace(b"'=HYPERLINK(1)", b"")).json()
        assert (report["errors"], report["new"], report["changed"], report["unchanged"]) == (0, 0, 0, 4)


def test_searching(boss, upload, sims) -> None:
    """By the start of any number, a telephone number in domestic form, exact numbers in any form, state and plan."""

    def found(**params):
        answer = boss.get("sims", params=params)
        assert answer.status_code == 200, answer.text
        return [sim["id"] for sim in answer.json()["items"]]

    assert found(q="0200000000000") == list(sims.values())
    assert (
        found(q="02000000000002")
        == found(msisdn="0200-0000-000002")
        == found(msisdn="+81 200 0000 000002")
        == [sims[2]]
    )
    assert found(iccid=iccid(3) + "F") == found(q=iccid(3)[:18]) == found(control_number="T3") == [sims[3]]
    assert found(imsi=imsi(4)) == found(bound=False) == [sims[4]]
    assert found(school="E2") == found(status="active") == found(pool="x") == found(unsettled=True) == []
    assert found(plan="7gb", account="files-1") == list(sims.values())
    assert boss.get("sims", params={"iccid": "1"}).status_code == 422
    first = boss.get("sims", params={"limit": 3}).json()
    second = boss.get("sims", params={"limit": 3, "cursor": first["next"]}).json()
    assert [sim["id"] for sim in first["items"] + second["items"]] == list(sims.values())
