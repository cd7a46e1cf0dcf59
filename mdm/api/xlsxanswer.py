"""A workbook (XLSX) as an answer: one sheet, written row by row. Text stays text: none becomes a formula or a link."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from io import BytesIO
from typing import Final

import xlsxwriter
from fastapi.responses import Response

Cell = str | int | float | Decimal | None
_OPTIONS: Final = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}


class XlsxResponse(Response):
    """The response class of a route that gives a workbook."""

    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def xlsx_file(rows: Iterable[Sequence[Cell]], name: str, *, sheet: str) -> XlsxResponse:
    """Return rows, the first of them the header, as a workbook of this name (without its ending)."""
    kept = BytesIO()
    with xlsxwriter.Workbook(kept, _OPTIONS) as book:
        page = book.add_worksheet(sheet)
        page.freeze_panes(1, 0)
        bold = book.add_format({"bold": True})
        for place, row in enumerate(rows):
            style = bold if place == 0 else None
            for column, cell in enumerate(row):
                match cell:
                    case None | "":
                        pass
                    case str():
                        page.write_string(place, column, cell, style)
                    case _:
                        page.write_number(place, column, cell, style)
    named = {"Content-Disposition": f'attachment; filename="{name}.xlsx"'}
    return XlsxResponse(kept.getvalue(), headers=named)
