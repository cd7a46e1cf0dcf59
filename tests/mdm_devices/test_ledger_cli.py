"""`tabane ledger` and `tabane device` against a running operator app."""

import csv
import io
import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role, credentials
from mdm.auth.models import Operator
from mdm.cli import device, ledger
from mdm.devices import sample
from tests.serving import serving

HEADER = "control_number,serial,school_code,user_id,name,state\n"
GOOD = HEADER + "T1,SERIAL1,E001,p1,Hana,issued\nT2,SERIAL2,E001,p2,Sora,issued\n"


@pytest.fixture
def server(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A running operator app; the command line is signed in as an administrator."""
    with db.transaction() as session:
        operator = Operator(name="hana", password_hash="", role=Role.ADMINISTRATOR, all_schools=True)
        session.add(operator)
        session.flush()
        secret = credentials.open_session(session, operator.id).secret
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", secret)
        yield


def run(*arguments: str, given: str | bytes | None = None) -> Result:
    app = {"ledger": ledger.app, "device": device.app}[arguments[0]]
    return CliRunner().invoke(app, arguments[1:], input=given)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.csv"
    file.write_text(GOOD)
    return file


def test_import_twice(server: None) -> None:
    """A district goes in through a pipe; the second time nothing changes and the command says so."""
    body = "".join(sample.lines(300)).encode("cp932")
    first = run("ledger", "import", "-", given=body)
    assert first.exit_code == 0, first.output
    assert "Imported 300 of 300 lines" in first.stdout
    second = run("ledger", "import", "-", given=body)
    assert second.exit_code == 0
    assert second.stdout.splitlines()[-1] == "Nothing changed."


def test_dry_run_and_json(server: None, good: Path) -> None:
    """A dry run writes nothing; --json gives the report of the API and nothing else."""
    dry = run("ledger", "import", str(good), "--dry-run")
    assert dry.stdout.splitlines()[-1] == "Dry run: nothing was written."
    assert json.loads(run("device", "list", "--json").stdout) == []
    report = json.loads(run("ledger", "import", str(good), "--json").stdout)
    assert (report["applied"], report["new"]) == (True, 2)


def test_wrong_lines_are_shown_and_nothing_is_imported(server: None, good: Path) -> None:
    """With a wrong line the command ends with 1, names line and reason, and nothing is in the ledger."""
    good.write_text(GOOD.replace("SERIAL2", "?"))
    result = run("ledger", "import", str(good))
    assert result.exit_code == 1
    assert "line 3" in result.stderr
    assert "Nothing was imported: 1 lines are wrong" in result.stdout
    assert "0 tablets" in run("device", "list").stdout


def test_bad_rows_go_to_a_file_that_can_be_mended_and_imported(server: None, good: Path) -> None:
    """The skipped rows are written as they stood, with line and reason, for their owner only; mended, they go in."""
    good.write_text(GOOD.replace("SERIAL2", "?"))
    result = run("ledger", "import", str(good), "--skip-bad-rows")
    assert result.exit_code == 0, result.output
    bad = good.with_suffix(".bad.csv")
    assert stat.S_IMODE(bad.stat().st_mode) == 0o600
    header, row = csv.reader(io.StringIO(bad.read_text(encoding="utf-8-sig")))
    assert header == [
        "control_number",
        "serial",
        "school_code",
        "user_id",
        "name",
        "state",
        "error_line",
        "error_reason",
    ]
    assert row[:7] == ["T2", "?", "E001", "p2", "Sora", "issued", "3"]
    assert "serial" in row[7]
    bad.write_text(bad.read_text(encoding="utf-8-sig").replace("?", "SERIAL2"))
    assert "Imported 1 of 1 lines" in run("ledger", "import", str(bad)).stdout


def test_errors_are_one_line(server: None, tmp_path: Path) -> None:
    """What is expected to fail ends with one line on standard error and status 1."""
    empty = tmp_path / "empty.csv"
    empty.touch()
    strange = tmp_path / "strange.csv"
    strange.write_text("a,b\n1,2\n")
    for file in (str(tmp_path / "missing.csv"), str(empty), str(strange), str(tmp_path)):
        result = run("ledger", "import", file)
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("tabane: ")


def test_export_can_be_imported(server: None, good: Path, tmp_path: Path) -> None:
    """The export goes to a file or standard output, and importing it changes nothing."""
    run("ledger", "import", str(good))
    out = tmp_path / "out.csv"
    assert run("ledger", "export", "--out", str(out)).stdout == f"Wrote 2 tablets to {out}.\n"
    assert run("ledger", "export").stdout_bytes == out.read_bytes()
    assert run("ledger", "import", str(out)).stdout.splitlines()[-1] == "Nothing changed."


def test_list_and_show(server: None, good: Path) -> None:
    """Tablets are listed by filters and shown one by one, names masked."""
    run("ledger", "import", str(good))
    listed = run("device", "list", "--search", "T2").stdout
    assert "SERIAL2" in listed
    assert "SERIAL1" not in listed
    assert len(json.loads(run("device", "list", "--limit", "1", "--json").stdout)) == 1
    shown = run("device", "show", "--serial", "serial1").stdout
    assert "p1 ***" in shown
    assert "Hana" not in shown
    assert json.loads(run("device", "show", "T1", "--json").stdout)["enrollment"]["status"] == "absent"
    assert run("device", "state", "T1", "lost").stdout == "T1: lost\n"
    assert run("device", "state", "T1", "sold").exit_code == 1
    assert run("device", "show", "T9").exit_code == 1
    assert run("device", "show").exit_code == 2


@pytest.mark.parametrize("arguments", [(), ("--encoding", "cp932", "--headers", "en")])
def test_sample_streams_to_a_pipe_that_closes(arguments: tuple[str, ...]) -> None:
    """The sample can be cut off by its reader without a traceback; wrong options are usage errors."""
    command = [sys.executable, "-m", "mdm.cli", "ledger", "sample", "--tablets", "50000", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        line = process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
    assert line.decode("cp932" if arguments else "utf-8").startswith("control_number" if arguments else "管理番号")
    assert run("ledger", "sample", "--encoding", "latin1").exit_code == 2
