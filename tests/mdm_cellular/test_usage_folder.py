"""The drop folder: files are taken up once, put away with a report, and left alone while they are being written."""

import os
import time

import pytest

from mdm import settings
from tests.mdm_cellular.conftest import audited, iccid
from tests.mdm_cellular.test_usage_import import file, shown
from tests.mdm_cellular.usage_model import FIRST, day
from workers import usage_files


@pytest.fixture
def drop(boss, sims, tmp_path, monkeypatch):
    """Put a file into the folder, by default one that has been still for long."""
    monkeypatch.setenv("TABANE_USAGE__DROP_FOLDER", str(tmp_path / "drop"))
    settings.get_settings.cache_clear()
    (tmp_path / "drop").mkdir()

    def put(name, content, age_s=300):
        path = tmp_path / "drop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        moment = time.time() - age_s
        os.utime(path, (moment, moment))
        return path

    return put


def lying(path):
    """Return what lies in a folder, without the moments before the names."""
    return sorted(each.name.split("Z-")[-1] for each in path.iterdir() if each.is_file())


def report_of(folder):
    (found,) = folder.glob("*.report.txt")
    return found.read_text()


def test_a_file_is_taken_up_and_put_away(drop, sql, sims) -> None:
    """Its right lines go in; the report names the wrong ones; it is on record, without numbers of lines."""
    path = drop("files-1/monday.csv", file(f"{iccid(1)},{day(0)},5", f"{iccid(2)},{day(0)},-1"))
    assert usage_files.take_up() == {"done": 1}
    assert shown(sql) == [(sims[1], day(0), 5, "csv")]
    assert lying(path.parent) == []
    assert lying(path.parent / "done") == ["monday.csv", "monday.csv.report.txt"]
    report = report_of(path.parent / "done")
    assert report == "1 new, 0 changed, 0 unchanged, 0 adjusted, 1 errors\nline 3: error: total: is negative\n"
    assert [row[0] for row in audited(sql)].count("usage.import") == 1
    assert sql("SELECT brought_by, rows_bad FROM import_batch WHERE kind = 'usage'") == [("system:files", 1)]
    assert usage_files.take_up() == {}


def test_the_same_file_again_does_nothing(drop, sql) -> None:
    """Under whatever name; one that was read and not put away, because the worker was killed, is put away."""
    content = file(f"{iccid(1)},{day(0)},5")
    drop("files-1/a.csv", content)
    usage_files.take_up()
    before = sql("SELECT xmin::text, * FROM usage_daily")
    path = drop("files-1/b.csv", content)
    assert usage_files.take_up() == {"done": 1}
    assert "went in before" in next((path.parent / "done").glob("*b.csv.report.txt")).read_text()
    assert sql("SELECT xmin::text, * FROM usage_daily") == before


def test_what_may_be_half_written_is_left_alone(drop, sql, monkeypatch) -> None:
    """A file that changed just now, one under another ending, a link, a hidden one, one of no account."""
    content = file(f"{iccid(1)},{day(0)},5")
    fresh = drop("files-1/fresh.csv", content, age_s=5)
    drop("files-1/upload.csv.part", content)
    hidden = drop("files-1/.hidden.csv", content)
    (fresh.parent / "link.csv").symlink_to(hidden)
    nobody = drop("nobody/a.csv", content)
    assert usage_files.take_up() == {"left": 1}
    assert shown(sql) == []
    assert fresh.exists()
    assert nobody.exists()
    os.utime(fresh, (time.time() - 61, time.time() - 61))
    assert usage_files.take_up() == {"done": 1, "left": 1}
    assert len(shown(sql)) == 1


def test_a_file_that_cannot_be_read_fails_alone(drop, sql, sims) -> None:
    """It lies in `failed` with the reason; the files beside it go in, bills by their own folder."""
    broken = drop("files-1/broken.csv", "date;bytes\r\n", age_s=500)
    wrong = drop("files-1/wrong.csv", file(f"{iccid(9)},{day(0)},5"), age_s=400)
    drop("files-1/good.csv", file(f"{iccid(1)},{day(0)},5"), age_s=300)
    bill = file(f"{iccid(1)},{FIRST:%Y-%m},5,980", header="iccid,month,bytes,yen")
    drop("files-1/bills/bill.csv", bill, age_s=200)
    assert usage_files.take_up() == {"done": 2, "failed": 2}
    assert lying(broken.parent / "failed") == [
        "broken.csv",
        "broken.csv.report.txt",
        "wrong.csv",
        "wrong.csv.report.txt",
    ]
    reports = "".join(path.read_text() for path in sorted((wrong.parent / "failed").glob("*.report.txt")))
    assert "semicolons" in reports
    assert "line 2: error: iccid: the account has no such SIM" in reports
    assert sql("SELECT sim_id, billed_bytes FROM usage_cycle WHERE closed_at IS NOT NULL") == [(sims[1], 5)]


def test_without_a_folder_nothing_happens(boss, monkeypatch, tmp_path) -> None:
    """Neither where none is set nor where it is gone."""
    assert usage_files.take_up() == {}
    monkeypatch.setenv("TABANE_USAGE__DROP_FOLDER", str(tmp_path / "gone"))
    settings.get_settings.cache_clear()
    assert usage_files.take_up() == {}
