"""SIM files through the operators' door: what goes in, what is refused with its line, and what never happens."""

import tempfile
import tracemalloc

import pytest

from mdm.auth import Role
from mdm.cellular import accounts, sim_import
from mdm.cellular.sim_columns import WIDTHS, Headers
from mdm.csvfile import Layout, read_rows
from tests.mdm_cellular.conftest import audited, csv_of, iccid, imsi, line


def listed(client, **params):
    answer = client.get("sims", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def test_a_file_fills_the_inventory_and_is_on_record(boss, upload, sql) -> None:
    """SIMs, plans and bindings come of it; the record holds counts and the file's digest, and no number at all."""
    report = upload(csv_of(line(1, "T1"), line(2, "T5"), line(3))).json()
    assert (report["applied"], report["new"], report["errors"], report["plans"]) == (True, 3, 0, 1)
    assert (report["bound"], report["absent"]) == (2, 0)
    first = listed(boss, control_number="T1")[0]
    assert (first["iccid"], first["imsi"], first["msisdn"]) == (iccid(1), imsi(1), "812000000000001")
    assert (first["plan"], first["account"], first["effective_status"]) == ("7gb", "files-1", "unknown")
    assert [sim["control_number"] for sim in listed(boss)] == ["T1", "T5", None]
    assert sql("SELECT iccid FROM device WHERE control_number = 'T1'") == [(iccid(1),)]
    action, _, details = audited(sql)[-1]
    assert (action, details["new"], len(details["sha256"])) == ("sim.import", 3, 64)
    everything = str(sql("SELECT details, subject FROM audit_event"))
    assert "8981" not in everything
    assert "0200" not in everything


def test_the_same_file_again_does_nothing(boss, upload, sql) -> None:
    """Known by its bytes: no row is touched. Told to import it again, it finds every line unchanged."""
    content = csv_of(line(1, "T1"), line(2, pool=""))
    upload(content)
    rows = sql("SELECT xmin::text, * FROM sim ORDER BY id") + sql("SELECT xmin::text, * FROM sim_binding ORDER BY id")
    known = upload(content).json()
    assert (known["known"], known["applied"], known["unchanged"]) == (True, False, 2)
    again = upload(content, again=True).json()
    assert (again["known"], again["new"], again["changed"], again["unchanged"]) == (False, 0, 0, 2)
    assert rows == sql("SELECT xmin::text, * FROM sim ORDER BY id") + sql(
        "SELECT xmin::text, * FROM sim_binding ORDER BY id"
    )
    batches = boss.get("sims/imports", params={"account": "files-1"}).json()
    assert [(batch["state"], batch["rows_same"]) for batch in batches] == [("applied", 2)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_portal_exports_in_japanese(boss, upload, encoding) -> None:
    """Japanese headers, CP932, unknown columns, a number as a formula of text, full-width digits, states in words."""
    content = (
        "回線番号,SIMカード番号,料金プラン,利用状態,備考,管理番号\r\n"
        f'０２０-0000-0001,"=""{iccid(1)}""",７GBプラン,利用中,x,T1\r\n'  # noqa: RUF001
        f"020-0000-0002,{iccid(2)[:4]} {iccid(2)[4:]},7GBプラン,利用中断,y,\r\n"
    )
    report = upload(content.encode(encoding)).json()
    assert (report["new"], report["errors"], report["ignored"]) == (2, 0, ["備考"])
    active, suspended = listed(boss)
    assert (active["msisdn"], active["effective_status"], active["carrier_status"]) == (
        "812000000001",
        "active",
        "利用中",
    )
    assert (suspended["iccid"], suspended["effective_status"]) == (iccid(2), "suspended")
    assert active["plan"] == suspended["plan"] == "7GBプラン"


def test_a_mapping_is_remembered(boss, upload) -> None:
    """A header that nobody knows is mapped once; the next file of the account is read by it without a word."""
    content = f"カード,電話\r\n{iccid(1)},0200 0000 000001\r\n"
    refused = upload(content)
    assert refused.status_code == 400
    assert "no column is the ICCID" in refused.json()["detail"]
    assert upload(content, map=["カード:iccid", "電話:msisdn"]).json()["new"] == 1
    assert upload(f"カード,電話\r\n{iccid(2)},0200 0000 000002\r\n").json()["new"] == 1
    assert [sim["msisdn"] for sim in listed(boss)] == ["812000000000001", "812000000000002"]
    account = boss.get("carriers/accounts/files-1").json()
    assert (account["sim_mapping"], account["mapping_version"]) == ({"カード": "iccid", "電話": "msisdn"}, 2)
    assert upload(content, map=["カード:number"]).status_code == 422


BAD = [
    (line(9, iccid="12345"), "iccid: the ICCID has 5 digits, not 18 to 20"),
    (line(9, iccid=""), "iccid: must not be empty"),
    (line(9, iccid="8.98112E+18"), "a spreadsheet has rounded it"),
    (line(9, iccid="=1+1"), "iccid: the ICCID has other characters than digits"),
    (line(9, iccid="-8981000000000000001"), "other characters"),
    (line(9, imsi="44010"), "imsi: the IMSI has 5 digits"),
    (line(9, msisdn="-1"), "msisdn: the telephone number"),
    (line(9, msisdn="9" * 30), "msisdn: the telephone number has 30 digits"),
    (line(9, eid="89" + "0" * 30), "eid: the check digits of the EID are wrong"),
    (line(9, plan='"=cmd|calc"'), "plan: begins like a formula"),
    (line(9, plan="x" * 65), "plan: longer than 64 characters"),
    (line(9, "T99"), "control_number: the ledger has no such tablet"),
    (line(9, pool="nowhere"), "pool: the account has no pool of this name"),
    (line(1), "the ICCID is on line 2 already"),
    (line(9, msisdn=line(1)["msisdn"]), "the telephone number is on line 2 already"),
    (line(9, "T1"), "the control number is on line 2 already"),
]


@pytest.mark.parametrize(("bad", "said"), BAD, ids=[said for _, said in BAD])
def test_a_wrong_line_is_named_and_the_others_go_in(boss, upload, bad, said) -> None:
    """Nothing goes in unless bad lines are skipped; then all the others do, and what was wrong is kept by line."""
    content = csv_of(line(1, "T1"), bad, line(2))
    refused = upload(content)
    assert refused.status_code == 422
    [error] = refused.json()["errors"]
    assert error["pointer"] == "/lines/3"
    assert any(each in error["detail"] for each in said.split("|"))
    assert bad["iccid"] == "" or len(bad["iccid"]) < 10 or bad["iccid"] not in refused.text
    assert listed(boss) == []
    report = upload(content, skip_bad_rows=True).json()
    assert (report["applied"], report["new"], report["errors"]) == (True, 2, 1)
    assert [sim["iccid"] for sim in listed(boss)] == [iccid(1), iccid(2)]
    [batch] = boss.get("sims/imports", params={"account": "files-1"}).json()
    notes = boss.get(f"sims/imports/{batch['id']}/notes").json()
    assert [(note["line"], note["level"]) for note in notes] == [(3, "error")]


def test_bytes_of_no_encoding_spoil_their_row_only(boss, upload) -> None:
    """In the middle of a UTF-8 file a row is in something else: it is named, and the rows around it go in."""
    good = csv_of(line(1, plan="プラン"), line(2, plan="プラン")).encode()
    header, first, second, _ = good.split(b"\r\n")
    content = b"\r\n".join([header, first, second.replace("プラン".encode(), b"\xff\xfe"), b""])
    report = upload(content, skip_bad_rows=True).json()
    assert (report["new"], report["errors"]) == (1, 1)
    assert report["faults"][0]["reason"] == "plan: holds bytes that are neither UTF-8 nor CP932"
    assert listed(boss)[0]["plan"] == "プラン"


def test_odd_numbers_go_in_with_a_word(upload) -> None:
    """A wrong check digit is a warning, a missing one and a foreign IMSI are for information."""
    wrong = iccid(1)[:-1] + str((int(iccid(1)[-1]) + 1) % 10)
    report = upload(csv_of(line(1, iccid=wrong), line(2, iccid=iccid(2)[:18]), line(3, imsi="001010000000001"))).json()
    assert report["new"] == 3
    assert [(note["line"], note["level"]) for note in report["notices"]] == [
        (2, "warning"),
        (3, "information"),
        (4, "information"),
    ]


def test_all_forms_of_an_iccid_are_one_sim(boss, upload) -> None:
    """18 digits, 19 with the check digit, 20 with the filler: one SIM, and the full form is kept when it is learnt."""
    upload(csv_of({"iccid": iccid(1)[:18]}))
    report = upload(csv_of({"iccid": iccid(1) + "F"})).json()
    assert (report["new"], report["changed"]) == (0, 1)
    assert upload(csv_of({"iccid": iccid(1)[:18]}), again=True).json()["unchanged"] == 1
    assert [sim["iccid"] for sim in listed(boss)] == [iccid(1)]


def test_what_a_file_leaves_out_stays(boss, upload, sims) -> None:
    """An empty cell and a missing line take nothing away; a whole list only marks what it does not name."""
    report = upload(csv_of({"iccid": iccid(1), "imsi": "", "control_number": ""})).json()
    assert (report["unchanged"], report["absent"]) == (1, 3)
    kept = listed(boss, control_number="T1")[0]
    assert (kept["id"], kept["imsi"], kept["plan"]) == (sims[1], imsi(1), "7gb")
    assert len(listed(boss, bound=True)) == 3
    upload(csv_of(line(1, "T1"), line(2, "T2")), whole=True)
    assert [sim["id"] for sim in listed(boss, missing=True)] == [sims[3], sims[4]]
    assert len(listed(boss, bound=True)) == 3
    upload(csv_of(line(3)), whole=True)
    assert [sim["id"] for sim in listed(boss, missing=True)] == [sims[1], sims[2], sims[4]]


def test_two_tablets_change_places_in_one_file(boss, upload, sims, sql) -> None:
    """Swapped control numbers, telephone numbers and the carrier's ids go in as a whole; both stretches are kept."""
    upload(csv_of(line(1, carrier_sim_id="a"), line(2, carrier_sim_id="b")))
    swap = [
        line(1, "T2", msisdn=line(2)["msisdn"], carrier_sim_id="b"),
        line(2, "T1", msisdn=line(1)["msisdn"], carrier_sim_id="a"),
    ]
    report = upload(csv_of(*swap)).json()
    assert (report["changed"], report["bound"]) == (2, 2)
    fields = {change["field"] for change in report["lines"][0]["changes"]}
    assert fields == {"msisdn", "carrier_sim_id", "control_number"}
    assert {sim["control_number"]: sim["id"] for sim in listed(boss) if sim["id"] < sims[3]} == {
        "T1": sims[2],
        "T2": sims[1],
    }
    history = boss.get(f"sims/{sims[1]}").json()["bindings"]
    assert [(each["control_number"], each["valid_to"] is None) for each in history] == [("T2", True), ("T1", False)]
    assert history[0]["valid_from"] == history[1]["valid_to"]
    assert sql("SELECT iccid FROM device WHERE control_number IN ('T1', 'T2') ORDER BY control_number") == [
        (iccid(2),),
        (iccid(1),),
    ]


def test_a_sim_is_never_pushed_out_by_the_way(boss, upload, sims) -> None:
    """A line that takes a tablet or a number from a SIM that the file leaves alone is wrong; so is who follows."""
    taken = upload(csv_of(line(4, "T1"))).json()
    assert taken["errors"][0]["detail"] == "the tablet has another SIM, which the file leaves in it"
    number = upload(csv_of(line(4, msisdn=line(1)["msisdn"]))).json()
    assert number["errors"][0]["detail"] == "the telephone number is another SIM's"
    # T1's SIM goes to T2, T2's to T3, and T3's would have to go to a tablet that does not exist.
    chain = csv_of(line(4, "T1"), line(1, "T2"), line(2, "T3"), line(3, "T99"))
    report = upload(chain, dry_run=True).json()
    assert [(fault["line"], fault["reason"][:10]) for fault in report["faults"]] == [
        (2, "line 3, wh"),
        (3, "line 4, wh"),
        (4, "the tablet"),
        (5, "control_nu"),
    ]
    upload(chain, skip_bad_rows=True)
    assert {sim["control_number"]: sim["id"] for sim in listed(boss, bound=True)} == {
        "T1": sims[1],
        "T2": sims[2],
        "T3": sims[3],
    }
    moved = upload(csv_of(line(4, "T1"), line(1, "T2"), line(2, "T3"), line(3, "T4"))).json()
    assert (moved["errors"], moved["bound"]) == (0, 4)


def test_a_dry_run_writes_nothing(boss, upload, sql) -> None:
    """It tells the same counts; no SIM, no batch, no event comes of it."""
    before = len(audited(sql))
    report = upload(csv_of(line(1, "T1")), dry_run=True).json()
    assert (report["applied"], report["new"], report["lines"][0]["outcome"]) == (False, 1, "new")
    assert listed(boss) == []
    assert sql("SELECT count(*) FROM import_batch") == [(0,)]
    assert len(audited(sql)) == before


def test_where_the_carrier_is_asked_itself_a_file_says_no_state(boss, upload) -> None:
    """The column of states counts for accounts of files only; for others it is passed over with a note."""
    body = {"name": "soracom-1", "kind": "soracom", "base_url": "https://carrier.example/v1"}
    assert boss.post("carriers/accounts", json=body).status_code == 201
    report = upload(csv_of(line(1, status="suspended")), account="soracom-1").json()
    assert report["notices"] == [
        {"line": 1, "level": "information", "reason": "status: passed over, the carrier is asked itself"}
    ]
    assert listed(boss)[0]["effective_status"] == "unknown"
    other = upload(csv_of(line(1)))
    assert other.json()["errors"][0]["detail"] == "the SIM belongs to another account"


def test_who_may_import(sign_in, upload) -> None:
    """The board's administrators of all schools, and nobody else."""
    content = csv_of(line(1))
    others = (("desk", Role.SUPPORT, ()), ("ops", Role.OPERATION, ()), ("half", Role.ADMINISTRATOR, ("E1",)))
    for name, role, codes in others:
        assert upload(content, client=sign_in(name, role, *codes)).status_code == 403


def test_malformed_files_are_refused_with_the_place(boss, upload) -> None:
    """No header of an ICCID, two of them, an unclosed quote, UTF-16, nothing at all, no such account."""
    for content, said in (
        ("a,b\r\n1,2\r\n", "no column is the ICCID"),
        ("iccid,SIM番号\r\n1,2\r\n", "column 2 is a second iccid"),
        (csv_of(line(1)) + '"' + iccid(2) + "\r\n", "starts on line 3"),
        ("iccid\r\n1\r\n".encode("utf-16"), "UTF-16"),
        ("", "the file is empty"),
        ("iccid\timsi\r\n", "separated by tabs"),
    ):
        answer = upload(content)
        assert answer.status_code == 400
        assert said in answer.json()["detail"]
    assert upload(csv_of(line(1)), account="nobody").status_code == 404
    assert listed(boss) == []


def test_a_large_file_is_a_batch_at_a_time_in_memory(boss, session) -> None:
    """Four times the lines, good and bad, take no more memory: what is kept of them is in the database."""
    account = accounts.find(session, "files-1")

    def peak(lines: int) -> int:
        rows = (f"{898199 * 10**12 + n},{n % 3},0200{n:010d},7GB\r\n" for n in range(lines))
        with tempfile.TemporaryFile() as file:
            file.write(b"iccid,imsi,msisdn,plan\r\n" + "".join(rows).encode())
            layout = Layout(Headers({}).read, WIDTHS, patient=True)
            tracemalloc.start()
            counts = sim_import.plan(session, read_rows(file, layout), account, lock=False)
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        session.rollback()
        assert counts.errors == lines
        return found

    few = peak(10_000)
    assert peak(40_000) < 1.3 * few
