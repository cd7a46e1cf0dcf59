"""Reports: cost and usage by school and month, top and idle lines, pools, one line; who sees them, and as files."""

import io
import json
import re
import zipfile
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from mdm.app import operator_app
from mdm.auth import Role
from mdm.cli import build
from tests.mdm_cellular.conftest import audited, csv_of, iccid, line
from tests.serving import serving

GB = 10**9
TODAY = datetime.now(ZoneInfo("Asia/Tokyo")).date()


@pytest.fixture
def lines(boss, sims, upload, sql):
    """SIMs 1 to 3 in E1, 4 in no tablet, 5 in E2; all on a plan of 7 GB for 980 yen since January."""
    upload(csv_of(line(5, "T5")))
    sql("UPDATE sim SET created_at = '2026-01-01', effective_status = 'active'")
    sql("UPDATE sim_binding SET valid_from = '2026-01-01'")
    [plan] = boss.get("plans").json()
    terms = {"allowance_bytes": 7 * GB, "price_yen": "980", "effective": "2026-01-01T00:00+09:00"}
    assert boss.post(f"plans/{plan['id']}/terms", json=terms).status_code == 201
    [(five,)] = sql("SELECT id FROM sim WHERE iccid_full = :iccid", iccid=iccid(5))
    return sims | {5: five}


@pytest.fixture
def cycle(lines, sql):
    """Write a line's cycle of September: `cycle(1, 5 * GB, billed_yen=1200)`."""

    def write(number, size, *, month="2026-09-01", billed_yen=None, pool=None):
        sql(
            "INSERT INTO usage_cycle (sim_id, cycle_start, cycle_end, account_id, plan_id, pool_id, source,"
            " bytes_total, billed_yen, closed_at) SELECT :sim, CAST(:month AS date),"
            " CAST(:month AS date) + interval '1 month', account_id, plan_id, :pool, 'csv', :size, :yen,"
            " CASE WHEN CAST(:yen AS numeric) IS NOT NULL THEN now() END FROM sim WHERE id = :sim",
            sim=lines[number],
            month=month,
            size=size,
            yen=billed_yen,
            pool=pool,
        )

    return write


@pytest.fixture
def use(lines, sql):
    """Write what a line used so many days ago."""

    def write(number, days, size, source="csv"):
        sql(
            "INSERT INTO usage_daily (usage_date, sim_id, source, bytes_total) VALUES (:day, :sim, :source, :size)",
            day=TODAY - timedelta(days=days),
            sim=lines[number],
            source=source,
            size=size,
        )

    return write


def september(client, **params):
    found = client.get("usage/report", params={"from": "2026-09", **params}).json()
    return {each["school_code"]: each for each in found}


def test_cost_by_school(boss, cycle, sql, lines):
    """A bill counts before the plan's price; late figures stand beside; lines in no tablet have a row of their own."""
    cycle(1, 5 * GB)
    cycle(2, 8 * GB, billed_yen="1234.50")
    cycle(4, GB)
    cycle(5, 2 * GB)
    sql(
        "INSERT INTO usage_adjustment (sim_id, cycle_start, source, delta_bytes)"
        " VALUES (:sim, '2026-09-01', 'csv', 77)",
        sim=lines[2],
    )
    found = september(boss)
    first = found["E1"]
    assert (first["lines"], first["used_lines"], first["bytes_total"], first["late_bytes"]) == (3, 2, 13 * GB, 77)
    assert (first["billed_yen"], first["plan_yen"], first["total_yen"]) == ("1234.50", "1960.00", "3194.50")
    assert (first["billed_lines"], first["unpriced_lines"], first["allowance_bytes"]) == (1, 0, 21 * GB)
    assert (found["E2"]["bytes_total"], found[None]["bytes_total"]) == (2 * GB, GB)
    assert september(boss, school="E2").keys() == {"E2"}
    both = boss.get("usage/report", params={"from": "2026-09", "to": "2026-10"}).json()
    assert [(each["month"], each["bytes_total"]) for each in both if each["school_code"] == "E1"] == [
        ("2026-09", 13 * GB),
        ("2026-10", 0),
    ]


def test_what_is_over_is_charged_where_the_plan_says_so(boss, cycle, sql):
    """1.5 GB over at 500 yen a GB; a line in a pool pays nothing by itself."""
    sql("UPDATE plan_version SET overage = 'charge', overage_yen_per_gb = 500")
    pool = boss.post("pools", json={"account": "files-1", "name": "share"}).json()["id"]
    cycle(1, 8_500_000_000)
    cycle(2, 9 * GB, pool=pool)
    assert september(boss)["E1"]["overage_yen"] == "750.00"


def test_a_line_costs_where_it_was_last_in_the_cycle(boss, cycle, sql, lines, district):
    """It moved from E1 to E2 in the middle of September; in August it was in E1 all along."""
    sql("UPDATE sim_binding SET valid_to = '2026-09-15' WHERE sim_id = :sim", sim=lines[1])
    sql(
        "INSERT INTO sim_binding (sim_id, device_id, valid_from, source, bound_by)"
        " VALUES (:sim, :device, '2026-09-15', 'operator', 'x')",
        sim=lines[1],
        device=district["T6"],
    )
    cycle(1, GB)
    cycle(1, 3 * GB, month="2026-08-01")
    assert (september(boss)["E1"]["bytes_total"], september(boss)["E2"]["bytes_total"]) == (0, GB)
    august = boss.get("usage/report", params={"from": "2026-08"}).json()
    assert {each["school_code"]: each["bytes_total"] for each in august}["E1"] == 3 * GB


@pytest.mark.parametrize(
    ("used", "parts"),
    [
        ((GB, GB, GB), ["33.34", "33.33", "33.34"]),
        ((7, 1, 2), ["70.01", "10.00", "20.00"]),
        ((0, 0, 0), ["33.34", "33.33", "33.34"]),
        ((0, 5, 0), ["0.00", "100.01", "0.00"]),
    ],
)
def test_what_was_bought_for_a_pool_is_shared_out_to_the_last_sen(boss, cycle, sql, used, parts):
    """By use, equally where nothing was used; the parts come to what was paid."""
    pool = boss.post("pools", json={"account": "files-1", "name": "share"}).json()["id"]
    sql("UPDATE device SET school_id = (SELECT id FROM school WHERE code = 'E2') WHERE control_number = 'T2'")
    sql("INSERT INTO school (code, name) VALUES ('E3', 'School E3')")
    sql("UPDATE device SET school_id = (SELECT id FROM school WHERE code = 'E3') WHERE control_number = 'T3'")
    for number, size in zip((1, 2, 3), used, strict=True):
        cycle(number, size, pool=pool)
    sql(
        "INSERT INTO pool_extra (pool_id, cycle_start, bytes, price_yen, bought_by) VALUES"
        " (:pool, '2026-09-01', 5, 60, 'x'), (:pool, '2026-09-01', 5, 40.01, 'x'), (:pool, '2026-08-01', 5, 9, 'x')",
        pool=pool,
    )
    found = september(boss)
    assert sum(Decimal(found[code]["extra_yen"]) for code in ("E1", "E2", "E3")) == Decimal("100.01")
    assert sorted(found[code]["extra_yen"] for code in ("E1", "E2", "E3")) == sorted(parts)


def test_files_that_no_spreadsheet_executes(boss, cycle, sql):
    """CSV and workbook say the same; a school's name that begins like a formula stays text."""
    cycle(1, 5 * GB)
    sql("UPDATE school SET name = '=HYPERLINK(\"http://x\")' WHERE code = 'E1'")
    answer = boss.get("usage/report/file", params={"from": "2026-09"})
    assert answer.headers["content-disposition"] == 'attachment; filename="usage-2026-09.csv"'
    header, first, *_ = answer.content.decode("utf-8-sig").splitlines()
    assert header.startswith("年月,学校コード,")
    assert first.startswith("2026-09,E1,\"'=HYPERLINK(")
    book = boss.get("usage/report/file", params={"from": "2026-09", "format": "xlsx", "english": True})
    with zipfile.ZipFile(io.BytesIO(book.content)) as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml").decode()
        every = "".join(parts.read(name).decode() for name in parts.namelist() if name.endswith(".xml"))
    assert "=HYPERLINK" in every
    assert not re.search(r"<f>|<hyperlink", sheet)
    assert f"<v>{5 * GB}</v>" in sheet
    assert [row[2]["format"] for row in audited(sql) if row[0] == "usage.export"] == ["csv", "xlsx"]


@pytest.mark.parametrize(
    "params", [{"from": "2026-13"}, {"from": "2026-09", "to": "2026-08"}, {"from": "2020-01", "to": "2026-01"}]
)
def test_wrong_months(boss, params):
    """A month that is none, an order that is none, and more than two years are refused."""
    assert boss.get("usage/report", params=params).status_code == 422


def test_top_lines(boss, sign_in, use, sql, lines):
    """By control number, within the scope, beside the days before; never a name, and each look is on record."""
    use(1, 1, 5 * GB)
    use(1, 3, GB)
    use(1, 9, 2 * GB)
    use(5, 2, 7 * GB)
    use(4, 2, GB)
    found = boss.get("usage/top", params={"days": 7}).json()
    assert [(each["control_number"], each["bytes_total"], each["bytes_before"], each["days"]) for each in found] == [
        ("T5", 7 * GB, 0, 1),
        ("T1", 6 * GB, 2 * GB, 2),
        (None, GB, 0, 1),
    ]
    assert [each["control_number"] for each in boss.get("usage/top", params={"days": 7, "limit": 1}).json()] == ["T5"]
    assert [each["control_number"] for each in boss.get("usage/top", params={"days": 7, "school": "E1"}).json()] == [
        "T1"
    ]
    hana = sign_in("hana", Role.SUPPORT, "E1")
    assert [each["control_number"] for each in hana.get("usage/top", params={"days": 7}).json()] == ["T1"]
    looks = sql("SELECT count(*) FROM audit_event WHERE action = 'usage.list' AND subject = 'usage:top'")
    assert looks == [(4,)]
    month = boss.get("usage/top", params={"month": TODAY.strftime("%Y-%m")}).json()
    assert {each["control_number"] for each in month} <= {"T1", "T5", None}
    assert boss.get("usage/top", params={"month": "2026-09", "days": 3}).status_code == 422


def test_a_figure_that_is_not_shown_counts_for_nothing(boss, use, sql):
    """Where two sources have a day, only the better one's is in the report."""
    use(1, 1, 5 * GB, "csv")
    use(1, 1, 6 * GB, "api")
    sql("UPDATE usage_daily SET superseded = true WHERE source = 'csv'")
    assert [each["bytes_total"] for each in boss.get("usage/top", params={"days": 7}).json()] == [6 * GB]


def test_idle_lines(boss, sign_in, use, sql, lines):
    """Active lines without use for so long, with their price; what is suspended or new is not idle."""
    use(1, 1, GB)
    use(2, 60, GB)
    sql("UPDATE sim SET effective_status = 'suspended' WHERE id = :sim", sim=lines[3])
    sql("UPDATE sim SET created_at = now() WHERE id = :sim", sim=lines[5])
    found = boss.get("usage/idle", params={"limit": 1}).json()
    rest = boss.get("usage/idle", params={"limit": 1, "cursor": found["next"]}).json()
    [two, four] = found["items"] + rest["items"]
    assert (two["control_number"], two["price_yen"]) == ("T2", "980.00")
    assert two["last_used_on"] == (TODAY - timedelta(days=60)).isoformat()
    assert (four["sim_id"], four["control_number"], four["last_used_on"]) == (lines[4], None, None)
    hana = sign_in("hana", Role.SUPPORT, "E1")
    assert [each["control_number"] for each in hana.get("usage/idle").json()["items"]] == ["T2"]
    assert [each["sim_id"] for each in boss.get("usage/idle", params={"days": 90}).json()["items"]] == [lines[4]]


def test_one_line(boss, sign_in, use, cycle, lines):
    """Its days with the source of each, its cycles with bills; not outside the scope."""
    use(1, 2, GB)
    cycle(1, 5 * GB, month=TODAY.replace(day=1).isoformat(), billed_yen="980")
    found = boss.get(f"usage/sims/{lines[1]}").json()
    assert [(each["bytes_total"], each["source"], each["utc_offset"]) for each in found["days"]] == [(GB, "csv", 540)]
    assert [(each["bytes_total"], each["billed_yen"]) for each in found["cycles"]] == [(5 * GB, "980.00")]
    hana = sign_in("hana", Role.SUPPORT, "E2")
    assert hana.get(f"usage/sims/{lines[1]}").status_code == 404


def test_pools(boss, sign_in, use, lines, sql):
    """What its lines used on the days on which they were in it; a pool is not for people of one school."""
    pool = boss.post("pools", json={"account": "files-1", "name": "share", "allowance_bytes": 10 * GB}).json()["id"]
    sql(
        "INSERT INTO pool_membership (pool_id, sim_id, valid_from, set_by) SELECT :pool, id, '2026-01-01', 'x' FROM sim"
        " WHERE id = :sim",
        pool=pool,
        sim=lines[1],
    )
    use(1, 0, 3 * GB)
    use(2, 0, 4 * GB)
    [found] = boss.get("usage/pools").json()
    assert (found["name"], found["sims"], found["used_bytes"], found["allowance_bytes"]) == (
        "share",
        1,
        3 * GB,
        10 * GB,
    )
    assert found["p50"] is None
    assert sign_in("hana", Role.SUPPORT, "E1").get("usage/pools").status_code == 403


def test_who_sees_usage(sign_in, lines):
    """Not who sees the person: usage beside the six items would be a seventh."""
    for role, status in ((Role.VIEWER, 200), (Role.OPERATION, 200), (Role.LOSS_DESK, 403), (Role.SCHOOL, 403)):
        assert sign_in(role.value, role).get("usage/top").status_code == status, role


def test_usage_from_the_command_line(boss, cycle, use, lines, monkeypatch, tmp_path):
    """Report, files, top, idle, pools and one line."""
    cycle(1, 5 * GB)
    use(1, 1, 5 * GB)
    boss.post("pools", json={"account": "files-1", "name": "share"})
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", boss.headers["Authorization"].removeprefix("Bearer "))

        def tabane(*words):
            result = CliRunner().invoke(build("usage"), ["usage", *words], prog_name="tabane")
            assert result.exit_code == 0, result.output
            return result.stdout

        assert "2026-09 E1" in tabane("report", "--from", "2026-09")
        for name, begins in (("out.xlsx", b"PK"), ("out.csv", b"\xef\xbb\xbf")):
            out = tmp_path / name
            assert "Wrote" in tabane("report", "--from", "2026-09", "--out", str(out))
            assert out.read_bytes().startswith(begins)
        assert "T1" in tabane("top", "--days", "7")
        assert json.loads(tabane("top", "--days", "7", "--json"))[0]["bytes_total"] == 5 * GB
        assert "4 lines, 3,920 yen in a cycle" in tabane("idle")
        assert "files-1/share" in tabane("pools")
        shown = tabane("show", "T1", "--days", "60")
        assert "5,000,000,000 bytes  csv" in shown
