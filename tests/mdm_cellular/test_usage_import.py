"""Files of usage and bills through the operators' door: what goes in, and what is refused with its line."""

import json
import tempfile
import tracemalloc
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role
from mdm.cellular import accounts
from mdm.cellular.models import ImportKind
from mdm.cellular.usage import file_columns, file_import
from mdm.cellular.usage.file_import import Wish
from mdm.cli import build
from tests.mdm_cellular.conftest import audited, iccid
from tests.mdm_cellular.usage_model import FIRST, day
from tests.serving import serving


@pytest.fixture
def send(boss, sims):
    """Import a file of usage into `files-1` and return the answer."""

    def upload(content, client=boss, **params):
        body = content.encode() if isinstance(content, str) else content
        params = {"account": "files-1", "report_faults": True} | params
        return client.post("usage/imports", content=body, headers={"Content-Type": "text/csv"}, params=params)

    return upload


def file(*lines, header="iccid,date,bytes"):
    return "\r\n".join([header, *lines, ""])


def shown(sql):
    return sql("SELECT sim_id, usage_date, bytes_total, source FROM usage_shown ORDER BY 1, 2")


def test_a_file_of_days_goes_in_once(send, sql, sims, boss) -> None:
    """Figures, cycles, a batch and a line on record that holds no number; the same file again does nothing."""
    content = file(f"{iccid(1)},{day(0)},500", f"{iccid(2)[:-1]},{day(0):%Y/%m/%d},0", f"{iccid(1)},{day(1)},7")
    report = send(content.replace("bytes", "usage(bytes)")).json()
    assert (report["applied"], report["new"], report["errors"], report["known"]) == (True, 3, 0, False)
    assert shown(sql) == [(sims[1], day(0), 500, "csv"), (sims[1], day(1), 7, "csv"), (sims[2], day(0), 0, "csv")]
    assert sql("SELECT sim_id, bytes_total FROM usage_cycle ORDER BY 1") == [(sims[1], 507), (sims[2], 0)]
    before = sql("SELECT xmin::text, * FROM usage_daily ORDER BY usage_date, sim_id")
    assert send(content.replace("bytes", "usage(bytes)")).json()["known"] is True
    again = send(content.replace("bytes", "usage(bytes)"), again=True).json()
    assert (again["applied"], again["unchanged"], again["new"]) == (True, 3, 0)
    assert before == sql("SELECT xmin::text, * FROM usage_daily ORDER BY usage_date, sim_id")
    batches = boss.get("sims/imports", params={"account": "files-1"}).json()
    assert [(batch["kind"], batch["state"]) for batch in batches] == [("usage", "applied"), ("sims", "applied")]
    details = next(row[2] for row in audited(sql) if row[0] == "usage.import")
    assert (details["new"], details["kind"]) == (3, "usage")
    assert "8981" not in str(sql("SELECT details, subject FROM audit_event"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_portal_exports_in_japanese(send, sql, sims, encoding) -> None:
    """Japanese headers and dates, a number as a formula of text, thousands, units in header and cell, full width."""
    content = (
        "電話番号,備考,利用日,データ通信量（MB）,SIMカード番号\r\n"  # noqa: RUF001 - as portals write it
        f'x,いろは,{day(0):%Y年%m月%d日},"1,234.5","=""{iccid(1)}"""\r\n'
        f"y,ー,{day(1):%Y%m%d},１２,{iccid(1)}\r\n"  # noqa: RUF001
        f"z,－,{day(2)} 00:00:00,1.5 GB,{iccid(1)}\r\n"  # noqa: RUF001
    )
    report = send(content.encode(encoding)).json()
    assert (report["errors"], report["new"], report["ignored"]) == (0, 3, ["備考"]), report
    assert [row[2] for row in shown(sql)] == [1_234_500_000, 12_000_000, 1_500_000_000]


def test_units_are_said_once_and_never_guessed(send, sql, boss) -> None:
    """Without a unit anywhere a line is wrong; what is said is remembered, with the base, and makes it another file."""
    content = file(f"{iccid(1)},{day(0):%m/%d/%Y},1.5", header="card,when,usage")
    asked = {"map": ["card:iccid", "when:date"]}
    report = send(content, **asked).json()
    assert (
        report["faults"][0]["reason"]
        == ("date: the year is not first; say in which order (dates); total: nobody says in which unit; give one")
        or "total: nobody says in which unit" in report["faults"][0]["reason"]
    )
    assert send(content, **asked, unit="MB", base=1024, dates="mdy").json()["applied"] is True
    assert sql("SELECT bytes_total FROM usage_shown") == [(1024 * 1024 * 3 // 2,)]
    kept = boss.get("carriers/accounts/files-1").json()["usage_mapping"]
    assert kept == {
        "columns": {"card": "iccid", "when": "date"},
        "unit": "mb",
        "base": 1024,
        "dates": "mdy",
        "grain": "day",
    }
    assert send(content).json()["known"] is True
    assert send(content, base=1000).json()["changed"] == 1
    for wrong in ({"unit": "miles"}, {"base": 12}, {"map": ["a:b"]}, {"map": ["a"]}):
        assert send(content, **wrong).status_code == 422
    assert boss.patch("carriers/accounts/files-1", json={"usage_mapping": {"unit": "miles"}}).status_code == 422
    assert send(content, account="nobody").status_code == 404


WRONG = {
    "total: is negative": f"{iccid(1)},{day(0)},-5",
    "total: more than a line can use; is the unit right?": f"{iccid(1)},{day(0)},99999999999999999",
    "total: begins like a formula (=, +, - or @)": f"{iccid(1)},{day(0)},=1+1",
    "total: was rounded by a spreadsheet": f"{iccid(1)},{day(0)},1.2E+09",
    "total: is no number": f"{iccid(1)},{day(0)},many",
    "total: must not be empty": f"{iccid(1)},{day(0)},",
    "total: has a unit that is not known": f"{iccid(1)},{day(0)},5 furlongs",
    "date: there is no such day": f"{iccid(1)},2026-02-30,5",
    "date: is no date, such as 2026-11-25": f"{iccid(1)},yesterday,5",
    "date: must not be empty": f"{iccid(1)},,5",
    "date: lies in the future": f"{iccid(1)},2999-01-01,5",
    "date: is longer ago than figures are kept": f"{iccid(1)},1999-01-01,5",
    "date: the year is not first; say in which order (dates)": f"{iccid(1)},11/25/2026,5",
    "iccid: must not be empty": f",{day(0)},5",
    "iccid: the account has no such SIM": f"{iccid(77)},{day(0)},5",
    "2 cells, where the header has 3": f"{iccid(1)},{day(0)}",
    "line 2 says something else of the same SIM and time": f"{iccid(2)},{day(0)},8",
    "total: longer than 40 characters": f"{iccid(1)},{day(0)},{'1' * 41}",
}


def test_each_wrong_line_is_named_and_the_right_ones_go_in(send, sql, sims) -> None:
    """By line and column, and never by value; nothing is written unless wrong lines are to be skipped."""
    content = file(f"{iccid(2)},{day(0)},7", *WRONG.values(), f"{iccid(3)},{day(0)},9").encode("utf-8-sig")
    content += iccid(1).encode() + f",{day(3)},".encode() + b"\xff\xfe\r\n"
    refused = send(content).json()
    assert (refused["applied"], refused["errors"], refused["new"]) == (False, len(WRONG) + 1, 2)
    assert [fault["reason"] for fault in refused["faults"]][:-1] == list(WRONG)
    assert [fault["line"] for fault in refused["faults"]] == [*range(3, 3 + len(WRONG)), len(WRONG) + 4]
    assert "neither UTF-8 nor CP932" in refused["faults"][-1]["reason"]
    assert shown(sql) == []
    assert sql("SELECT usage_mapping FROM carrier_account") == [({},)]
    assert "8981" not in str(refused)
    problem = send(content, report_faults=False)
    assert (problem.status_code, problem.json()["errors"][0]["pointer"]) == (422, "/lines/3")
    assert send(content, skip_bad_rows=True, dry_run=True).json()["applied"] is False
    assert shown(sql) == []
    done = send(content, skip_bad_rows=True).json()
    assert (done["applied"], done["new"], done["errors"]) == (True, 2, len(WRONG) + 1)
    assert [(row[0], row[2]) for row in shown(sql)] == [(sims[2], 7), (sims[3], 9)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "empty"),
        ("iccid,date\r\n", "total"),
        ("date,bytes\r\n", "names the SIM"),
        ("iccid,bytes\r\n", "date"),
        ("iccid;date;bytes\r\n", "semicolons"),
        ("iccid,date,bytes,usage\r\n", "second total"),
        ('iccid,date,bytes\r\n"1,2,3\r\n4,5,6', "quote"),
        ("iccid,date,bytes\r\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_what_spoils_the_whole_file(send, sql, content, why) -> None:
    """A file that cannot be read at all is refused with what is wrong with it."""
    answer = send(content)
    assert (answer.status_code, why in answer.json()["detail"]) == (400, True), answer.text
    assert shown(sql) == []


def test_a_repeated_line_is_only_noticed(send, sql) -> None:
    """A line that says the same twice is no contradiction; up and down make a total where there is none."""
    content = file(*[f"{iccid(1)},{day(0)},3,4"] * 2, header="iccid,date,upload(KB),download (KB)")
    report = send(content).json()
    assert (report["new"], report["notices"][0]["reason"]) == (1, "says the same as line 2")
    assert sql("SELECT bytes_total, bytes_up, bytes_down FROM usage_daily") == [(7000, 3000, 4000)]


def test_months_are_read_like_a_counter_and_bills_close_them(send, sql, sims) -> None:
    """What a month came to, corrected by a later file, then billed; a figure after that stands beside it."""
    month = f"{FIRST:%Y-%m}"
    assert send(file(f"{iccid(1)},{month},3", header="iccid,month,GB usage".replace("GB usage", "usage(GB)")),
                grain="month").json()["new"] == 1  # fmt: skip
    assert send(file(f"{iccid(1)},2.5", header="iccid,usage(GB)"), month=month).json()["new"] == 1
    assert sql("SELECT sim_id, bytes_total, source FROM usage_cycle WHERE bytes_total > 0") == [
        (sims[1], 2_500_000_000, "csv")
    ]
    bill = file(f'{iccid(1)},{month},2.75,"¥1,980"', f"{iccid(2)},{month},,500円", header="iccid,月,通信量(GB),請求額")
    report = send(bill, kind="bill").json()
    assert (report["applied"], report["new"], report["errors"]) == (True, 2, 0), report
    rows = sql("SELECT sim_id, bytes_total, billed_yen, source, closed_at IS NOT NULL FROM usage_cycle ORDER BY 1")
    assert [(row[0], row[1], int(row[2]), row[4]) for row in rows] == [
        (sims[1], 2_750_000_000, 1980, True),
        (sims[2], 0, 500, True),
    ]
    late = send(file(f"{iccid(1)},{FIRST},9"), grain="day").json()
    assert (late["new"], late["adjusted"]) == (0, 1)
    now = datetime.now(ZoneInfo("Asia/Tokyo"))
    early = send(file(f"{iccid(1)},{now:%Y-%m},2,1", header="iccid,month,usage(GB),yen"), kind="bill").json()
    assert "its cycle is not over yet" in early["faults"][0]["reason"]
    following = (now.replace(day=28) + timedelta(days=10)).strftime("%Y-%m")
    assert send(file(f"{iccid(1)},{following},2", header="iccid,month,usage(GB)"), grain="month").json()["errors"] == 1


def test_only_the_board_brings_files(send, sign_in, district) -> None:
    """Neither others nor somebody of some schools may."""
    content = file(f"{iccid(1)},{day(0)},5")
    assert send(content, client=sign_in("aud", Role.AUDITOR)).status_code == 403
    assert send(content, client=sign_in("ops", Role.OPERATION)).status_code == 403
    assert send(content, client=sign_in("half", Role.ADMINISTRATOR, "E1")).status_code == 403


def test_from_the_command_line(boss, sims, tmp_path, monkeypatch, sql) -> None:
    """Dry run, import, the same again, and wrong lines with status 1."""
    path = tmp_path / "usage.csv"
    path.write_text(file(f"{iccid(1)},{day(0)},5", f"{iccid(2)},{day(0)},6"))
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", boss.headers["Authorization"].removeprefix("Bearer "))

        def tabane(*words):
            return CliRunner().invoke(build("usage"), ["usage", "import", *words], prog_name="tabane")

        assert "Dry run" in tabane(str(path), "--account", "files-1", "--dry-run").stdout
        assert "Imported 2 of 2 lines" in tabane(str(path), "--account", "files-1").stdout
        assert "This very file went in before" in tabane(str(path), "--account", "files-1").stdout
        path.write_text(file(f"{iccid(1)},{day(0)},5", f"{iccid(2)},{day(1)},-6"))
        refused = tabane(str(path), "--account", "files-1")
        assert (refused.exit_code, "line 3       error: total: is negative" in refused.stderr) == (1, True)
        skipped = tabane(str(path), "--account", "files-1", "--skip-bad-rows", "--json")
        assert json.loads(skipped.stdout)["unchanged"] == 1


def test_a_large_file_is_a_piece_at_a_time_in_memory(sims) -> None:
    """Four times the lines, good and bad, take no more memory: what is kept of them is in the database."""

    def peak(lines):
        with tempfile.TemporaryFile() as body, db.transaction() as session:
            body.write(b"iccid,date,bytes\r\n")
            for number in range(lines):
                name = iccid(number) if number % 3 else iccid(1)
                body.write(f"{name},{day(number % 50)},{number if number % 5 else -number}\r\n".encode())
            account = accounts.find(session, "files-1")
            wish = Wish(ImportKind.USAGE, file_columns.reading({}), dry_run=True)
            tracemalloc.start()
            outcome = file_import.run(session, account, body, wish, by="test")
            highest = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert outcome.errors > lines / 2
        return highest

    few = peak(10_000)
    assert peak(40_000) < 1.3 * few
