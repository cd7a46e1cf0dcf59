"""The frame of both apps: health, problem documents, request ids, security headers, pages, requests that run once."""

import os
import threading
from collections.abc import Iterator
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel, Field
from starlette.testclient import TestClient

from mdm import app as doors
from mdm import db
from mdm.api import Once, Page, Paging, page_of
from mdm.auth import Action, Principal, Role, credentials, may
from mdm.auth.models import Operator
from mdm.db import SessionDep
from mdm.errors import Conflict, Unauthenticated
from mdm.settings import get_settings

started = threading.Event()
finish = threading.Event()
acts: list[str] = []


class Wish(BaseModel):
    name: Annotated[str, Field(max_length=10)]
    fail: bool = False
    slow: bool = False


class Done(BaseModel):
    number: int


def _router() -> APIRouter:
    router = APIRouter(prefix="/api/v1/probe", dependencies=[Depends(may(Action.SIGN_IN_SELF))])

    @router.get("/who")
    def who(principal: Annotated[Principal, Depends(may(Action.READ_FLEET))]) -> str:
        return principal.actor

    @router.get("/support")
    def support(principal: Annotated[Principal, Depends(may(Action.LOCK))]) -> str:
        return principal.actor

    @router.get("/administrator")
    def administrator(principal: Annotated[Principal, Depends(may(Action.CHANGE_POLICIES))]) -> str:
        return principal.actor

    @router.get("/numbers")
    def numbers(paging: Paging) -> Page[int]:
        first = paging.after[0] + 1 if paging.after else 0
        rows = list(range(first, 25))[: paging.limit + 1]
        return page_of(paging, rows, key=lambda n: [n], show=lambda n: n)

    @router.get("/others")
    def others(paging: Paging) -> Page[int]:
        return page_of(paging, list(range(paging.limit + 1)), key=lambda n: [n], show=lambda n: n)

    @router.get("/boom")
    def boom() -> None:
        raise RuntimeError("the secret is 1234")

    @router.post("/once", response_model=Done, status_code=202)
    def once(wish: Wish, once: Once, session: SessionDep):
        def act() -> Done:
            acts.append(wish.name)
            session.add(Operator(name=f"made-{len(acts)}", password_hash="", role=Role.VIEWER))
            if wish.slow:
                started.set()
                assert finish.wait(20)
            if wish.fail:
                raise Conflict("not today")
            return Done(number=len(acts))

        return once.run(act)

    return router


@pytest.fixture
def app(database: str, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    acts.clear()
    started.clear()
    finish.clear()
    monkeypatch.setattr(doors, "OPERATOR_ROUTERS", (_router(),))
    return doors.operator_app()


@pytest.fixture
def api(app: FastAPI) -> Iterator[TestClient]:
    with db.transaction() as session:
        operator = Operator(name="hana", password_hash="", role=Role.SUPPORT, all_schools=True)
        session.add(operator)
        session.flush()
        secret = credentials.open_session(session, operator.id).secret
    with TestClient(app, headers={"Authorization": f"Bearer {secret}"}) as client:
        yield client


def test_live_and_ready(api):
    """Both probes answer without a sign-in; who stands on its own schema or a newer one is ready, not on an older."""
    assert api.get("/livez", headers={"Authorization": ""}).status_code == 200
    assert api.get("/readyz").json() == {"ready": True, "reason": "ok"}
    for version, status in (("a later one", 200), ("0001", 503)):
        with db.engine().begin() as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")
        assert api.get("/readyz").status_code == status


def test_connections_are_named_and_give_up_a_silent_peer(database):
    """Each process shows under its own name, and does not wait for hours for a host that is gone."""
    with db.engine().connect() as connection:
        name = connection.exec_driver_sql("SELECT current_setting('application_name')").scalar_one()
        given = connection.connection.dbapi_connection.info.get_parameters()
    assert name == f"tabane:{os.getpid()}"
    assert int(given["keepalives_idle"]) <= 10
    assert int(given["tcp_user_timeout"]) <= 30_000


def test_problem_of_a_refusal(api):
    """A refusal is a problem document with the id of its request, and every answer carries the security headers."""
    answer = api.get("/api/v1/probe/administrator", headers={"X-Request-ID": "abcd-1234"})
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:tabane:problem:forbidden",
        "title": "Forbidden",
        "status": 403,
        "detail": "the role support may not do this (policy.change)",
        "request_id": "abcd-1234",
    }
    assert answer.headers["x-request-id"] == "abcd-1234"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_problem_of_a_validation_error_points_at_the_field(api):
    """A wrong field is named by a pointer, and what was sent is not repeated."""
    answer = api.post("/api/v1/probe/once", json={"name": "far too long a name"}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/name"]
    assert "far too long" not in answer.text


def test_unexpected_errors_say_nothing(api):
    """An unexpected error becomes a 500 problem without its text, inside the frame."""
    answer = api.get("/api/v1/probe/boom")
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:tabane:problem:internal"
    assert "1234" not in answer.text
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("header", [None, "Bearer ", "Bearer nonsense", "Basic aGFuYTp4"])
def test_no_sign_in_no_answer(api, header):
    """Without a valid credential the answer is a 401 problem."""
    del api.headers["authorization"]
    answer = api.get("/api/v1/probe/who", headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_unknown_path_and_method(api):
    """Unknown paths and methods are problems too."""
    assert api.get("/api/v1/nothing").json()["type"] == "urn:tabane:problem:not-found"
    assert api.delete("/api/v1/probe/who").json()["status"] == 405


def test_body_limit(api):
    """A body over the limit is refused with a problem."""
    answer = api.post("/api/v1/probe/once", content=b"x" * (1024 * 1024 + 1), headers={"Idempotency-Key": "k"})
    assert answer.status_code == 413


def test_pages_follow_each_other(api):
    """Following `next` walks the whole list once, whatever the page size."""
    seen, cursor = [], None
    while True:
        page = api.get("/api/v1/probe/numbers", params={"limit": 10} | ({"cursor": cursor} if cursor else {})).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == list(range(25))


def test_cursor_of_another_list_is_refused(api):
    """A made-up cursor, or one of another list, is refused."""
    foreign = api.get("/api/v1/probe/others").json()["next"]
    for cursor in (foreign, "AAAA", "%%%", "é"):
        answer = api.get("/api/v1/probe/numbers", params={"cursor": cursor})
        assert answer.json()["type"] == "urn:tabane:problem:bad-cursor", cursor
    assert api.get("/api/v1/probe/numbers", params={"limit": 501}).status_code == 422


def _post(api, key="key-1", **wish):
    return api.post("/api/v1/probe/once", json={"name": "a", **wish}, headers={"Idempotency-Key": key})


def test_repeat_gets_the_same_answer(api):
    """The same key and body act once and get the same answer; another key acts again."""
    first, second, third = _post(api), _post(api), _post(api, key="key-2")
    assert (first.status_code, first.json()) == (202, {"number": 1})
    assert (second.status_code, second.json()) == (202, {"number": 1})
    assert second.headers["idempotent-replayed"] == "true"
    assert third.json() == {"number": 2}
    assert len(acts) == 2


def test_key_is_required_and_bound_to_the_body(api):
    """No key is refused, and a key that comes with another body is refused."""
    assert api.post("/api/v1/probe/once", json={"name": "a"}).status_code == 422
    _post(api)
    answer = _post(api, name="b")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:tabane:problem:idempotency-key-reused")


def test_refused_request_leaves_its_key_free(api):
    """A refused request did nothing, so the same key may succeed later."""
    assert _post(api, fail=True).status_code == 409
    assert _post(api).status_code == 202


def test_old_answers_are_forgotten(api):
    """After 24 hours a key counts as new."""
    _post(api)
    with db.transaction() as session:
        session.connection().exec_driver_sql("UPDATE idempotency_record SET created_at = now() - interval '25 hours'")
    assert _post(api, name="b").json() == {"number": 2}


def test_repeat_while_the_first_runs(api):
    """A repeat that overtakes the first request is told to wait, and nothing is done twice."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(_post(api, slow=True)))
    thread.start()
    assert started.wait(20)
    overtaking = _post(api, slow=True)
    finish.set()
    thread.join(20)
    assert (overtaking.status_code, overtaking.json()["type"]) == (409, "urn:tabane:problem:idempotency-still-running")
    assert answers[0].status_code == 202
    assert len(acts) == 1


def test_device_app_never_says_401(database: str, monkeypatch: pytest.MonkeyPatch):
    """A door that means 401 answers a tablet 400, with nothing in the body."""
    router = APIRouter()

    @router.put("/door")
    def door() -> None:
        raise Unauthenticated("no")

    monkeypatch.setattr(doors, "DEVICE_ROUTERS", (router,))
    with TestClient(doors.device_app()) as client:
        assert client.get("/livez").status_code == 200
        answer = client.put("/door")
        assert (answer.status_code, answer.content) == (400, b"")
        assert client.get("/nothing").status_code == 404


def test_openapi_is_3_1_and_names_the_problems(api):
    """The document is OpenAPI 3.1 and its error answers point at the Problem schema."""
    document = api.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    answers = document["paths"]["/api/v1/probe/who"]["get"]["responses"]
    assert answers["403"]["content"]["application/problem+json"]["schema"]["$ref"] == "#/components/schemas/Problem"
    assert "request_id" in document["components"]["schemas"]["Problem"]["properties"]


def _forget() -> None:
    db.engine().dispose()
    db.engine.cache_clear()
    get_settings.cache_clear()


def test_database_gone_is_503(api):
    """When the database is away the answer is a 503 problem that says nothing was done."""
    _forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        answer = api.get("/api/v1/probe/who")
        ready = api.get("/readyz")
        _forget()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:tabane:problem:unavailable")
    assert ready.status_code == 503
