"""The command line of signing in with two factors, proving anew, tokens and sessions, against a running app."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role, Scope
from mdm.operators import accounts
from tests.mdm_auth.people import PASSWORD
from tests.mdm_auth.provider import CLIENT, SECRET, TENANT, Provider, running
from tests.serving import serving

Run = Callable[..., "subprocess.CompletedProcess[str]"]
TABANE = [sys.executable, "-m", "mdm.cli"]


@pytest.fixture
def url(database: str) -> Iterator[str]:
    with serving(operator_app()) as served:
        yield served


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("TABANE_URL", "TABANE_TOKEN")}
    return kept | {"TABANE_CREDENTIALS": str(tmp_path / "credentials.json")}


@pytest.fixture
def tabane(environment: dict[str, str]) -> Run:
    def run(*words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*TABANE, *words], input=given, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    return run


def _code(secret: str, steps: int = 0) -> str:
    plain = base64.b32decode(secret + "=" * (-len(secret) % 8))
    return TOTP(plain, 6, SHA1(), 30).generate(int(time.time()) + 30 * steps).decode()


def _set_up_app(environment: dict[str, str]) -> tuple[str, list[str]]:
    """Read the secret off the screen and type the first code, as a person does; return it and the recovery codes."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*TABANE, "factor", "totp"], env=environment, text=True, **pipes) as process:
        secret = process.stdout.readline().split()[-1]
        assert process.stdout.readline().startswith("otpauth://totp/")
        said, complaint = process.communicate(_code(secret) + "\n", timeout=60)
    assert process.returncode == 0, complaint
    return secret, [line.strip() for line in said.splitlines() if line.startswith("  ")]


def test_two_factors_at_the_command_line(url, tabane, environment):
    """Sign in, set an app up, sign in with its code, prove anew, make a token, see and end the sessions."""
    with db.transaction() as session:
        scope = Scope(all_schools=True)
        accounts.add(session, "host", name="hana", password=PASSWORD, role=Role.SUPPORT, scope=scope)
    login = ("login", "--url", url, "--name", "hana")
    assert "needs a second factor" in tabane(*login, given=f"{PASSWORD}\n").stdout
    assert "second factor" in tabane("device", "list").stderr
    secret, codes = _set_up_app(environment)
    assert len(codes) == 10
    assert tabane("device", "list").returncode == 0
    half = tabane(*login, given=f"{PASSWORD}\n")
    assert (half.returncode, "a code is needed" in half.stderr) == (1, True)
    assert tabane(*login, given=f"{PASSWORD}\n{_code(secret, 1)}\n").returncode == 0
    assert "app with codes: yes" in tabane("factor", "list").stdout
    proved = tabane("step-up", given=f"{PASSWORD}\n{codes[0]}\n")
    assert (proved.returncode, "Proved" in proved.stdout) == (0, True), proved.stderr
    made = json.loads(tabane("token", "create", "--label", "robot", "--allow", "fleet.read", "--json").stdout)
    assert made["allow"] == ["fleet.read", "session.self"]
    assert made["key"] in tabane("token", "list").stdout
    refused = tabane("token", "create", "--label", "x", "--allow", "approval.decide")
    assert (refused.returncode, "needs a person" in refused.stderr) == (1, True)
    # The one in which the app was set up, and the one that was proved anew.
    assert len(json.loads(tabane("session", "list", "--json").stdout)) == 2
    assert tabane("session", "end", "--all").stdout == "Ended 2 sessions and 1 tokens.\n"
    assert tabane("device", "list").returncode == 1


def test_the_host_opens_a_door_that_has_fallen_shut(url, tabane, environment):
    """Whoever runs the host makes accounts for breaking the glass, and forgets factors when no administrator can."""
    made = tabane("operator", "add", "glass-1", "--role", "administrator", "--all-schools", "--break-glass",
                  given=f"{PASSWORD}\n")  # fmt: skip
    assert made.returncode == 0, made.stderr
    login = ("login", "--url", url, "--name", "glass-1")
    assert tabane(*login, given=f"{PASSWORD}\n").returncode == 0
    _set_up_app(environment)
    assert json.loads(tabane("operator", "list", "--json").stdout)[0]["break_glass"] is True
    assert tabane("operator", "reset-factors", "glass-1").returncode == 1
    assert tabane("operator", "reset-factors", "glass-1", "--host").returncode == 0
    assert tabane("operator", "reset-factors", "nobody", "--host").returncode == 1
    assert "needs a second factor" in tabane(*login, given=f"{PASSWORD}\n").stdout


def test_signing_in_with_the_browser(url, tabane, environment, monkeypatch, tmp_path):
    """The command waits on this machine for the browser, which comes from the identity provider by way of the app."""
    monkeypatch.setenv("TABANE_OPERATOR_URL", url)
    secret = tmp_path / "client-secret"
    secret.write_text(SECRET)
    person = {"sub": "1", "oid": "0-1", "tid": TENANT, "preferred_username": "hanako@example.jp"}
    person |= {"roles": ["V", "school:*"]}
    with running(Provider(f"{url}/api/v1/session/oidc/callback", person)) as provider:
        ours = {"ISSUER": provider.issuer, "TENANT": TENANT, "CLIENT_ID": CLIENT, "CLIENT_SECRET_FILE": str(secret)}
        for name, value in {**ours, "ROLES": '{"V": "viewer"}'}.items():
            monkeypatch.setenv(f"TABANE_OIDC__{name}", value)
        db.get_settings.cache_clear()
        command = [*TABANE, "login", "--sso", "--url", url]
        # No browser on this machine: the person copies the address.
        alone = environment | {"BROWSER": "true"}
        with subprocess.Popen(command, env=alone, text=True, stdout=subprocess.PIPE) as waiting:
            address = waiting.stdout.readline().split()[-1]
            with httpx2.Client(follow_redirects=True) as browser:
                assert "close this page" in browser.get(address).text
            said, _ = waiting.communicate(timeout=60)
        assert waiting.returncode == 0
        assert "as hanako (viewer)" in said
    assert tabane("device", "list").returncode == 0
