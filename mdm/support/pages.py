"""A case as a page to print: plain markup, one style sheet under its hash, nothing that runs; shows what it gets."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from fastapi.responses import HTMLResponse

from mdm.support.wording import Language

_STYLE: Final = """
@page { margin: 15mm; }
body { font: 11pt/1.6 system-ui, sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid #888; padding: .2rem .5rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
tr { break-inside: avoid; }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'"


def language_of(accepted: str | None) -> Language:
    """Return the language that a browser prefers: English where it comes before Japanese, else Japanese."""
    weights: dict[str, float] = {}
    for part in (accepted or "").split(","):
        tag, _, parameter = part.strip().partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        name = tag.strip().lower()[:2]
        weights[name] = max(weights.get(name, 0.0), weight)
    return "en" if weights.get("en", 0.0) > weights.get("ja", 0.0) else "ja"


def table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]], language: Language) -> HTMLResponse:
    """Return a page with one table; the first cell of each row is its head where there are no headers."""
    body = "".join(_row(cells, head_first=not headers) for cells in rows)
    head = f"<thead><tr>{_cells('th', headers)}</tr></thead>" if headers else ""
    page = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<table>{head}<tbody>{body}</tbody></table></body></html>"
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY, "Vary": "Accept-Language"})


def _row(cells: Sequence[str], *, head_first: bool) -> str:
    if head_first:
        return f'<tr><th scope="row">{escape(cells[0])}</th>{_cells("td", cells[1:])}</tr>'
    return f"<tr>{_cells('td', cells)}</tr>"


def _cells(tag: str, cells: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
