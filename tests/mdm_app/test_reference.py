"""The page at the operators' address."""

import base64
import hashlib
import re

from starlette.testclient import TestClient

from mdm.app import operator_app


def test_the_address_shows_what_runs_here(database: str) -> None:
    """A browser finds every operation, under a policy that lets nothing else run."""
    app = operator_app()
    with TestClient(app) as client:
        answer = client.get("/")
    assert answer.status_code == 200
    missing = [path for path in app.openapi()["paths"] if f" {path}<" not in answer.text]
    assert missing == []
    style = re.search(r"<style>(.*)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]
    assert "script" not in answer.text
