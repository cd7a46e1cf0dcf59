"""The page at the operators' address: what runs here, how to sign in, and every operation of the API. Shows no data."""

import base64
import hashlib
from html import escape
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.7 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; }
table { border-collapse: collapse; width: 100%; } td { padding: .3rem .6rem .3rem 0; vertical-align: top; }
tr { border-top: 1px solid #8886; } code { font-size: .9em; overflow-wrap: anywhere; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'"
_PAGE: Final = """<!doctype html>
<html lang="ja"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Tabane</title><style>{style}</style></head><body>
<h1>Tabane 束ね</h1>
<p>学習用タブレットの管理サーバーが動作しています。操作はコマンド <code>tabane</code> または下記の API で行います。<br>
<span lang="en">The tablets' management server is running. Work with it by the command <code>tabane</code>, or by the
API below.</span></p>
<p><code>tabane login --url {address} --name 利用者名</code> ・ <a href="/api/v1/openapi.json">OpenAPI</a></p>
<main lang="en">{rooms}</main>
</body></html>
"""


def add_reference(app: FastAPI) -> None:
    """Serve the page at `/`."""

    @app.get("/", include_in_schema=False)
    def reference(request: Request) -> HTMLResponse:
        """Describe what is here."""
        address = str(request.base_url).rstrip("/")
        page = _PAGE.format(style=_STYLE, address=escape(address), rooms=_rooms(app.openapi()))
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})


def _rooms(document: dict[str, Any]) -> str:
    rows: dict[str, list[str]] = {}
    for path, operations in document.get("paths", {}).items():
        for method, operation in operations.items():
            cells = (f"{method.upper()} {path}", operation.get("summary", ""))
            row = f"<tr><td><code>{escape(cells[0])}</code></td><td>{escape(cells[1])}</td></tr>"
            rows.setdefault(operation.get("tags", ["other"])[0], []).append(row)
    return "".join(f"<h2>{escape(tag)}</h2><table>{''.join(lines)}</table>" for tag, lines in sorted(rows.items()))
