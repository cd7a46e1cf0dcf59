"""Calendars from a file, YAML or CSV (UTF-8 or CP932): checked documents out, with the line of every error.

A file replaces the calendars of those it names, whole. It knows no table: who may set which is for `calendars` to say.
"""

import csv
import io
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from mdm import yamlfile
from mdm.errors import Invalid, Malformed
from mdm.organization.calendar_document import CalendarDocument, weekdays
from mdm.organization.calendars import Written

_MAX_CALENDARS: Final = 2000
_MAX_ERRORS: Final = 100
_COLUMNS: Final = {
    "school": "school", "学校コード": "school", "day": "day", "日": "day", "last": "last", "最終日": "last",
    "hours": "hours", "授業時間": "hours", "label": "label", "名称": "label",
}  # fmt: skip
_JAPANESE_DAYS: Final = dict(zip("月火水木金土日", ("mon", "tue", "wed", "thu", "fri", "sat", "sun"), strict=True))
_DATE: Final = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})")


def read_yaml(content: bytes) -> list[Written]:
    """Read one document for each calendar: `school`, and the fields of `CalendarDocument`.

    Malformed for what is no such YAML; Invalid with all errors (pointer `/0/closed/3`, the line in the detail).
    """
    documents, lines = yamlfile.parse(_decoded(content))
    return _checked(documents, lines, [])


def read_csv(content: bytes) -> list[Written]:
    """Read rows of school, day, last, hours and label: a weekday with its hours, or closed days with their label.

    Malformed for what spoils the whole file; Invalid with all errors, the line in each detail.
    """
    rows = csv.reader(io.StringIO(_decoded(content), newline=""), strict=True)
    building = _Rows()
    try:
        columns = _header(next(rows, []))
        for cells in rows:
            if any(cell.strip() for cell in cells):
                building.add(rows.line_num, dict(zip(columns, (cell.strip() for cell in cells), strict=False)))
    except csv.Error as wrong:
        raise Malformed(f"line {rows.line_num}: not CSV: {wrong}") from None
    return _checked(list(building.documents.values()), building.lines, building.errors)


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8-sig", "cp932"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Malformed("the file is neither UTF-8 nor CP932")


def _header(cells: list[str]) -> list[str]:
    columns = [_COLUMNS.get(cell.strip(), "") for cell in cells]
    if not {"school", "day"} <= set(columns) or not {"hours", "label"} & set(columns):
        raise Malformed(
            "line 1: the header must name school, day, last, hours and label (学校コード, 日, 最終日, 授業時間, 名称)"
        )
    return columns


class _Rows:
    """Gathers the rows of a file into one document for each school, as a YAML file would hold them."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.numbers: dict[str, int] = {}
        self.lines: dict[str, int] = {}
        self.errors: list[dict[str, str]] = []

    def add(self, line: int, cells: Mapping[str, str]) -> None:
        """Take one row."""
        school, day = cells.get("school", ""), cells.get("day", "")
        document = self.documents.setdefault(school, {"school": school})
        at = f"/{self.numbers.setdefault(school, len(self.numbers))}"
        self.lines.setdefault(at, line)
        first = _date(day)
        if first is None:
            self._add_hours(line, f"{at}/class_hours", document.setdefault("class_hours", {}), cells)
            return
        closed = document.setdefault("closed", [])
        self.lines[f"{at}/closed/{len(closed)}"] = line
        last = cells.get("last", "")
        ends = {"last": _date(last) or last} if last else {}
        closed.append({"first": first, **ends, "label": cells.get("label", "")})

    def _add_hours(self, line: int, at: str, hours: dict[str, list[str]], cells: Mapping[str, str]) -> None:
        try:
            named = weekdays("".join(_JAPANESE_DAYS.get(letter, letter) for letter in cells.get("day", "")))
        except ValueError as wrong:
            self.errors.append({"pointer": at, "detail": f"line {line}: neither a date nor a weekday: {wrong}"})
            return
        for day in named:
            if day in hours:
                self.errors.append({"pointer": f"{at}/{day}", "detail": f"line {line}: {day} is named twice"})
            hours[day] = cells.get("hours", "").split()
            self.lines[f"{at}/{day}"] = line


def _date(text: str) -> str | None:
    """A date as spreadsheets write it, in the form that is checked later; None when it does not look like one."""
    found = _DATE.fullmatch(text)
    return None if found is None else f"{found[1]}-{int(found[2]):02}-{int(found[3]):02}"


def _checked(documents: list[Any], lines: dict[str, int], errors: list[dict[str, str]]) -> list[Written]:
    if not documents:
        raise Malformed("the file holds no calendar")
    if len(documents) > _MAX_CALENDARS:
        raise Malformed(f"a file holds at most {_MAX_CALENDARS} calendars")
    read: dict[str, Written] = {}
    for number, document in enumerate(documents):
        faults = _faults(document, read, yamlfile.line_of(f"/{number}/school", lines))
        if faults:
            _name_days(number, document, lines)
        for pointer, said in faults:
            found = yamlfile.line_of(f"/{number}{pointer}", lines)
            detail = said if found is None else f"line {found}: {said}"
            # What is wrong in `mon-fri` is wrong five times, and said once.
            if all(error["detail"] != detail for error in errors[-6:]):
                errors.append({"pointer": f"/{number}{pointer}", "detail": detail})
    if errors:
        raise Invalid("the file has errors; nothing was set", errors=errors[:_MAX_ERRORS])
    return list(read.values())


def _faults(document: Any, read: dict[str, Written], line: int | None) -> list[tuple[str, str]]:
    """Put a right document among those that are read; return what is wrong with another, by pointer."""
    if not isinstance(document, dict) or not isinstance(document.get("school"), str) or not document["school"]:
        return [("/school", "say whose calendar it is: a school's code in quotes, or district")]
    school = document["school"]
    if school in read:
        return [("/school", f"{school} has a calendar further up")]
    body = {name: value for name, value in document.items() if name != "school"}
    try:
        read[school] = Written(school, CalendarDocument.model_validate(body), line)
    except ValidationError as wrong:
        errors = wrong.errors(include_input=False, include_url=False)
        return [("".join(f"/{part}" for part in each["loc"]), each["msg"]) for each in errors]
    return []


def _name_days(number: int, document: Any, lines: dict[str, int]) -> None:
    """Give single days the lines of the spans of weekdays in which they are written."""
    hours = document.get("class_hours") if isinstance(document, dict) else None
    at = f"/{number}/class_hours/"
    for name in hours if isinstance(hours, dict) else ():
        try:
            lines |= {at + day: lines[at + name] for day in weekdays(name) if at + name in lines}
        except ValueError:
            continue
