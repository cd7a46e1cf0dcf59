"""CSV as an answer: in UTF-8 with a mark, so that spreadsheets read it, and as a file to keep. Makes no line itself."""

from fastapi.responses import Response


class CsvResponse(Response):
    """The response class of a route that gives CSV."""

    media_type = "text/csv"


def csv_file(body: str, name: str, **headers: str) -> CsvResponse:
    """Return CSV as a file of this name (without its ending); `headers` have `_` for `-`."""
    more = {header.replace("_", "-"): value for header, value in headers.items()}
    named = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return CsvResponse(body.encode("utf-8-sig"), headers=named | more)
