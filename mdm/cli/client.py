"""The command line's way to the operator API: address, credential, errors as one line. Knows no route."""

import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx2
import platformdirs
import typer

_TIMEOUT = httpx2.Timeout(60, connect=10)
_CHUNK = 1 << 18


def fail(message: str, *, code: int = 1) -> NoReturn:
    """End the command with one line on standard error."""
    print(f"tabane: {message}", file=sys.stderr)
    raise typer.Exit(code)


def write_out(body: bytes, out: Path | None, *, private: bool = False) -> bool:
    """Write to a file, or to standard output when there is none; say whether it was a file. `private`: its owner's."""
    if out is None:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return False
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(out, flags, 0o600 if private else 0o666), "wb") as stream:
            stream.write(body)
    except OSError as error:
        fail(f"cannot write {out}: {error.strerror}")
    return True


def pieces(file: str) -> Iterator[bytes]:
    """Yield a file, or standard input (-), piece by piece: it may be larger than what should be held at once."""
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
            while piece := stream.read(_CHUNK):
                yield piece
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")


def credentials_file() -> Path:
    """Return where `tabane login` keeps its session; TABANE_CREDENTIALS moves it."""
    given = os.environ.get("TABANE_CREDENTIALS")
    return Path(given) if given else Path(platformdirs.user_config_dir("tabane")) / "credentials.json"


def save_credentials(url: str, token: str) -> Path:
    """Keep an address and its session for the next commands; only its owner may read the file."""
    file = credentials_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump({"url": url.rstrip("/"), "token": token}, stream)
    fresh.replace(file)
    return file


def replace_kept(token: str) -> None:
    """Keep a session that took the place of the kept one; ends the command where none is kept."""
    if os.environ.get("TABANE_TOKEN"):
        fail("the session in TABANE_TOKEN is replaced by a new one, which can only be kept after `tabane login`")
    save_credentials(_credentials()[0], token)


def forget_credentials() -> None:
    """Delete the kept session."""
    credentials_file().unlink(missing_ok=True)


def _credentials() -> tuple[str, str]:
    url, token = os.environ.get("TABANE_URL", ""), os.environ.get("TABANE_TOKEN", "")
    if url and token:
        return url.rstrip("/"), token
    try:
        kept = json.loads(credentials_file().read_text())
        kept_url, kept_token = str(kept["url"]), str(kept["token"])
    except (OSError, ValueError, KeyError, TypeError):
        fail("not signed in: run `tabane login`, or set TABANE_URL and TABANE_TOKEN")
    if url and url.rstrip("/") != kept_url:
        # A kept session goes nowhere but to the server that gave it.
        fail(f"the kept session is for {kept_url}, not for TABANE_URL; run `tabane login --url {url}`")
    return kept_url, token or kept_token


class Client:
    """A signed-in connection to the operator API. Every method returns decoded JSON or ends the command."""

    def __init__(self, url: str, token: str) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            fail(f"not an http address: {url}")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=_TIMEOUT)
        self._url = url

    def get(self, path: str, **params: Any) -> Any:
        """Read one document; parameters that are None are left out."""
        return self._ask("GET", path, params=_given(params))

    def post(self, path: str, body: Any = None, *, once: bool = False, **params: Any) -> Any:
        """Post a JSON body; `once` adds a fresh Idempotency-Key, for what creates commands."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} if once else {}
        return self._ask("POST", path, json=body, params=_given(params), headers=headers)

    def attempt(self, path: str, body: Any) -> tuple[str, Any]:
        """Post a JSON body and return the answer, or the slug and the sentence of its refusal; "" is no refusal."""
        answer = self._reach("POST", path, json=body)
        return ("", answer.json()) if answer.is_success else (_slug(answer), _sentence(answer))

    def patch(self, path: str, body: Any) -> Any:
        """Change a thing."""
        return self._ask("PATCH", path, json=body)

    def put(self, path: str, body: Any) -> Any:
        """Replace a thing."""
        return self._ask("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        """Remove a thing."""
        return self._ask("DELETE", path)

    def upload(
        self,
        path: str,
        content: bytes | Iterator[bytes],
        *,
        content_type: str,
        timeout: float = 300,
        **params: Any,
    ) -> Any:
        """Post raw bytes, such as a CSV file, at once or piece by piece; `timeout` in seconds."""
        headers = {"Content-Type": content_type}
        return self._ask("POST", path, content=content, headers=headers, params=_given(params), timeout=timeout)

    def download(self, path: str, **params: Any) -> bytes:
        """Read bytes that are not JSON, such as a profile or an export."""
        return self._send("GET", path, params=_given(params)).content

    def pieces(self, path: str, **params: Any) -> Iterator[bytes]:
        """Read a long answer piece by piece, however long it is."""
        try:
            with self._http.stream("GET", path, params=_given(params)) as answer:
                if not answer.is_success:
                    answer.read()
                    fail(_sentence(answer))
                yield from answer.iter_bytes()
        except httpx2.HTTPError as error:
            fail(f"{self._url} broke off: {error}")

    def each(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Yield every item of a paged list, page after page."""
        cursor: str | None = None
        while True:
            page = self.get(path, **{"limit": 500, **params, "cursor": cursor})
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        answer = self._send(method, path, **options)
        return answer.json() if answer.content else None

    def _reach(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx2.TimeoutException:
            fail(f"{self._url} did not answer in time")
        except httpx2.HTTPError as error:
            fail(f"cannot reach {self._url}: {error}")

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        answer = self._reach(method, path, **options)
        if answer.is_success:
            return answer
        fail(_sentence(answer))


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _slug(answer: httpx2.Response) -> str:
    """Return the last word of a problem's type, or the status of what is no problem document."""
    try:
        return str(answer.json()["type"]).rpartition(":")[2]
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)


def _sentence(answer: httpx2.Response) -> str:
    """Make one line of a problem document."""
    try:
        problem = answer.json()
        detail = str(problem["detail"])
        errors = [f"{each['pointer']}: {each['detail']}" for each in problem.get("errors", [])]
    except (ValueError, KeyError, TypeError):
        return f"the server answered {answer.status_code}"
    return "; ".join([detail, *errors[:5]])


@contextmanager
def connected() -> Iterator[Client]:
    """Open a client with the given credential (TABANE_URL, TABANE_TOKEN) or the kept one, for a `with` block."""
    client = Client(*_credentials())
    try:
        yield client
    finally:
        client.close()


def show_json(document: Any) -> None:
    """Print a document as JSON, for `--json`."""
    print(json.dumps(document, ensure_ascii=False, indent=2))
