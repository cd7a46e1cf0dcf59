"""The ledger file: encodings, headers, quoting, faults by line, and cells that spreadsheets must not run."""

import contextlib
import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.csvfile import csv_line, tidy
from mdm.devices import csvfile
from mdm.devices.ledger_columns import JAPANESE, Column
from mdm.errors import Malformed

HEADER = "control_number,serial,school_code,name,user_id"


def rows(content: str | bytes) -> list[csvfile.Row]:
    return list(csvfile.read_rows(io.BytesIO(content.encode() if isinstance(content, str) else content)))


def refusal(content: str | bytes) -> str:
    with pytest.raises(Malformed) as raised:
        rows(content)
    return raised.value.detail


JA = "管理番号,シリアル番号,学校コード,利用者ID,氏名\r\nT1,ABCD1,E001,p1,髙橋　海\r\n"  # CP932 has 髙


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_both_encodings_read_the_same(encoding: str) -> None:
    """UTF-8 with or without its mark and CP932 give the same row."""
    (row,) = rows(JA.encode(encoding))
    assert row.line == 2
    assert row.cells == {
        Column.CONTROL_NUMBER: "T1",
        Column.SERIAL: "ABCD1",
        Column.SCHOOL_CODE: "E001",
        Column.USER_ID: "p1",
        Column.NAME: "髙橋　海",
    }


@pytest.mark.parametrize("language", ["ja", "en"])
def test_headers_in_either_language_in_any_order(language: str) -> None:
    """Every column is known by its Japanese and its English header, wherever it stands."""
    columns = list(reversed(Column))
    header = ",".join(JAPANESE[c] if language == "ja" else c.value.upper().replace("_", " ") for c in columns)
    (row,) = rows(f"{header}\n{','.join(str(n) for n in range(len(columns)))}\n")
    assert row.cells == {column: str(number) for number, column in enumerate(columns)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        ("control_number,serial\nT1,A", "the column school_code (学校コード) is missing"),
        ("control_number,serial,school_code,name", "needs the column user_id"),
        ("control_number,serial,school_code,serial", "repeats the header serial"),
        ("control_number,serail,school_code", "unknown header 'serail'; nearest is serial (シリアル番号)"),
        ("管理番号,シリアル番号,学校こーど", "nearest is school_code"),
        ("control_number\tserial\tschool_code\nT1\tA\tE1", "separated by tabs"),
        ("control_number;serial;school_code", "separated by semicolons"),
        (JA.encode("utf-16"), "UTF-16"),
        (HEADER + '\nT1,A,E1,"never closed,p\nT2,B,E1,x,y\n', "starts on line 2"),
        (HEADER + '\nT1,A,E1,ok,p\nT2,"B"x,E1,x,y\n', "starts on line 3"),
        (HEADER + "\nT1,A,E1," + "x" * 200_000 + ",p\n", "far too long"),
    ],
)
def test_what_spoils_the_whole_file(content: str | bytes, said: str) -> None:
    """A file that cannot be read as a ledger is refused with what is wrong and where."""
    assert said in refusal(content)


@pytest.mark.parametrize("before", [1, (1 << 18) - 20, (1 << 18) - 1, 1 << 18, (1 << 18) + 1])
def test_bytes_of_no_encoding_are_named_by_offset_and_line(before: int) -> None:
    """Byte offset and line of the first bad byte are exact, also across the blocks in which the file is read."""
    head = (HEADER + "\nT1,A,E1,青葉,p\n").encode()
    content = head + b"x" * before + "青".encode() + b"\nT2,\xff\xff,E1,,\n"
    said = refusal(content)
    offset = content.index(b"\xff")
    assert f"byte {offset} on line 4" in said


def test_a_broken_cp932_file_is_not_called_utf8() -> None:
    """The encoding that decodes further is the one that the message speaks of."""
    content = JA.encode("cp932") + b"T2,\x81\n"
    assert refusal(content).endswith("is not CP932")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("T1,A,E1", "3 cells, where the header has 5"),
        ("T1,A,E1,n,p,more", "6 cells"),
        ("T1,A\x00B,E1,n,p", "serial: holds a character that cannot be printed"),
        ("T1,A,E1,n\x1bn,p", "name: holds a character"),
        ("T1,A,E1," + "n" * 101 + ",p", "name: longer than 100 characters"),
    ],
)
def test_a_fault_of_one_row_leaves_the_others(line: str, fault: str) -> None:
    """A row that is wrong says so with its line; the rows around it are read."""
    first, bad, last = rows(f"{HEADER}\nT0,A,E1,n,p\n{line}\nT2,B,E1,n,q\n")
    assert (first.fault, last.fault) == (None, None)
    assert bad.line == 3
    assert fault in bad.fault
    assert bad.cells == {}
    assert bad.raw[0] == "T1"


def test_lines_are_counted_through_quoted_line_breaks() -> None:
    """A record that spans lines is numbered by its first; the line break becomes a space."""
    first, second = rows(f'{HEADER}\nT1,A,E1,"青葉\n海",p\nT2,B,E1,n,q\n')
    assert (first.line, second.line) == (2, 4)
    assert first.cells[Column.NAME] == "青葉 海"


def test_empty_lines_and_columns_are_passed_over() -> None:
    """What spreadsheets leave behind (empty rows, empty columns at the end) is not an error."""
    (row,) = rows(f"{HEADER},,\n\n,,,,,,\nT1,A,E1,n,p,,\n")
    assert row.line == 4
    assert row.cells[Column.USER_ID] == "p"


def test_width_is_folded_but_not_in_names() -> None:
    """Identifiers are folded by NFKC; a name keeps its very characters."""
    (row,) = rows(f"{HEADER}\n Ｔ１ ,ａｂ１,Ｅ１,　神谷 ㈱ﾀﾛｳ ,ｐ１\n")  # noqa: RUF001
    assert row.cells[Column.CONTROL_NUMBER] == "T1"
    assert row.cells[Column.USER_ID] == "p1"
    assert row.cells[Column.NAME] == "神谷 ㈱ﾀﾛｳ"


def test_gaiji_are_kept_in_names_only() -> None:
    """A municipality's own character (a private code point) may stand in a name, and nowhere else."""
    content = (HEADER + "\nT1,A,E1,").encode() + b"\xf0\x40,p\nT2,\xf0\x40,E1,n,q\n"
    good, bad = rows(content)
    assert good.cells[Column.NAME] == "\ue000"
    assert bad.fault == "serial: holds a character that cannot be printed"


def test_formulas_stay_text() -> None:
    """A cell that looks like a formula is taken as it is written."""
    (row,) = rows(f'{HEADER}\nT1,A,E1,"=HYPERLINK(""x"")",p\n')
    assert row.cells[Column.NAME] == '=HYPERLINK("x")'


def test_too_many_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caps on rows and bytes hold."""
    monkeypatch.setattr(csvfile, "LAYOUT", replace(csvfile.LAYOUT, max_rows=2))
    assert "more than 2 rows" in refusal(HEADER + "\nT1,A,E1,n,p" * 3)
    monkeypatch.setattr(csvfile, "LAYOUT", replace(csvfile.LAYOUT, max_bytes=20))
    assert "larger than" in refusal(HEADER)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
def test_an_exported_name_comes_back_and_never_runs(name: str) -> None:
    """Whatever a name is, its exported cell does not start like a formula, and reading it gives the name again."""
    kept = tidy(name, as_written=True)
    line = csv_line(["T1", "A", "E1", kept, "p"])
    cell = next(csv.reader([line]))[3]
    assert cell[:1] not in {"=", "+", "-", "@", "\t", "\r"}
    assert tidy(cell, as_written=True) == kept


@given(st.binary(max_size=300))
def test_any_bytes_give_rows_or_a_typed_refusal(content: bytes) -> None:
    """No bytes make the reader raise anything but `Malformed`."""
    for whole in (content, (HEADER + "\n").encode() + content):
        with contextlib.suppress(Malformed):
            rows(whole)


def test_japanese_in_utf8_is_not_taken_for_cp932() -> None:
    """One wrong byte in a UTF-8 file is named; it does not make another encoding, and nonsense, of all the names."""
    content = f"{HEADER}\nT1,A,E1,プラン,p\nT2,B,E1,".encode() + b"\xff\xfe,q\n"
    content.decode("cp932")  # which every byte of it would allow
    assert refusal(content).endswith("on line 3 is not UTF-8")
