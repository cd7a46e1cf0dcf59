"""A pretended SORACOM Air: sessions, lines, orders and the export of the fleet's usage, checked as documented.

After soracom/soracom-cli `generators/assets/soracom-api.en.yaml` and users.soracom.io/ja-jp/docs/billing/air-stats-csv.
No server code here, and nothing that ever spoke to the real one.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.clouds.carrier import CarrierCloud, body_of, page_of
from simulator.clouds.carrier_script import Script
from simulator.clouds.lines import Clock, Line, Lines
from simulator.clouds.soracom_csv import csv_of

_SPEEDS: Final = ("s1.minimum", "s1.slow", "s1.standard", "s1.fast", "s1.4xfast", "s1.8xfast", "u1.standard", "u1.slow")
_STATUS: Final = {"activate": "active", "deactivate": "inactive", "suspend": "suspended", "set_to_standby": "standby"}
_LONGEST_TOKEN_S: Final = 172_800
_OLDEST: Final = timedelta(days=549)

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class _Session:
    token: str
    until: datetime


@dataclass(frozen=True, slots=True)
class _Export:
    first: date
    last: date
    ready_at: datetime
    key: str


class SoracomCloud(CarrierCloud):
    """The pretended service under `/v1`; its days are UTC's."""

    def __init__(
        self,
        numbers: list[tuple[str, str]],
        *,
        key_id: str,
        key: str,
        operator_id: str = "OP0012345678",
        seed: int = 0,
        script: Script | None = None,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        words = {"status": "active", "plan": "plan-D", "speed": "s1.standard", "imei_lock": ""}
        carrying = frozenset({"ready", "active"})
        lines = Lines(numbers, script=script or Script(), words=words, carrying=carrying, seed=seed, clock=clock)
        self.operator_id = operator_id
        self._keys = (key_id, key)
        self._sessions: dict[str, _Session] = {}
        self._exports: dict[str, _Export] = {}
        self._by_id = {sim_id(line): line for line in lines.all}
        super().__init__(lines, self._routes())

    def end_sessions(self) -> None:
        """Forget every session."""
        self._sessions.clear()

    def _routes(self) -> list[Route]:
        return [
            Route("/v1/auth", self._auth, methods=["POST"]),
            Route("/v1/sims", self._signed_in(self._sims)),
            Route("/v1/query/sims", self._signed_in(self._search)),
            Route("/v1/sims/{sim_id}", self._signed_in(self._sim)),
            Route("/v1/sims/{sim_id}/{verb}", self._signed_in(self._act), methods=["POST"]),
            Route("/v1/stats/air/operators/{operator}/export", self._signed_in(self._order_export), methods=["POST"]),
            Route("/v1/files/exported/{file}", self._signed_in(self._export_status)),
            Route("/exports/{file}.csv", self._export),
        ]

    def _signed_in(self, handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            session = self._sessions.get(request.headers.get("x-soracom-api-key", ""))
            given = request.headers.get("x-soracom-token", "")
            if session is None or session.until <= self.lines.clock() or session.token != given:
                return JSONResponse({"code": "AUM0003", "message": "Invalid API key or API token."}, 401)
            return await handler(request)

        return checked

    async def _auth(self, request: Request) -> Response:
        body = await body_of(request)
        if (body.get("authKeyId"), body.get("authKey")) != self._keys:
            return JSONResponse({"code": "AUM0001", "message": "Authentication failed."}, 401)
        seconds = body.get("tokenTimeoutSeconds", 86400)
        if not isinstance(seconds, int) or not 0 < seconds <= _LONGEST_TOKEN_S:
            raise HTTPException(400, "tokenTimeoutSeconds is not right")
        life = min(seconds, self.script.token_s or seconds)
        api_key, token = f"api-{secrets.token_hex(8)}", secrets.token_urlsafe(32)
        self._sessions[api_key] = _Session(token, self.lines.clock() + timedelta(seconds=life))
        return JSONResponse({"apiKey": api_key, "operatorId": self.operator_id, "token": token})

    async def _sims(self, request: Request) -> Response:
        limit = page_of(request, "limit", most=100, default=100)
        after = request.query_params.get("last_evaluated_key")
        start = self._known(after).index + 1 if after is not None else 0
        lines = self.lines.all[start : start + limit]
        more = {"x-soracom-next-key": sim_id(lines[-1])} if start + limit < len(self.lines.all) else {}
        return JSONResponse([self._described(line) for line in lines], headers=more)

    async def _search(self, request: Request) -> Response:
        limit = page_of(request, "limit", most=100, default=10)
        asked = {name: request.query_params.get(name, "") for name in ("iccid", "imsi", "msisdn")}
        if any(len(value) == 1 for value in asked.values()):
            raise HTTPException(400, "a search value is too short")
        found = [line for line in self.lines.all if all(value in getattr(line, name) for name, value in asked.items())]
        return JSONResponse([self._described(line) for line in found[:limit]])

    async def _sim(self, request: Request) -> Response:
        return JSONResponse(self._described(self._known(request.path_params["sim_id"])))

    async def _act(self, request: Request) -> Response:
        line, verb = self._known(request.path_params["sim_id"]), request.path_params["verb"]
        body = await body_of(request) if await request.body() else {}
        if line.words["status"] == "terminated":
            raise HTTPException(400, "the SIM is terminated")
        if verb in _STATUS:
            changes = {"status": _STATUS[verb]}
        elif verb == "update_speed_class" and body.get("speedClass") in _SPEEDS:
            changes = {"speed": str(body["speedClass"])}
        elif verb == "set_imei_lock":
            imei = str(body.get("imei") or line.imei)
            if len(imei.removesuffix("|ANONYMOUS")) != len("123456789012345") or not imei[:15].isdigit():
                raise HTTPException(400, "the IMEI is not right")
            changes = {"imei_lock": imei}
        elif verb == "unset_imei_lock":
            changes = {"imei_lock": ""}
        else:
            raise HTTPException(404 if verb != "update_speed_class" else 400, "no such act or value")
        self.order(line, changes)
        return JSONResponse(self._described(line))

    async def _order_export(self, request: Request) -> Response:
        body = await body_of(request)
        now = self.lines.clock()
        start, end = body.get("from"), body.get("to")
        if request.path_params["operator"] != self.operator_id:
            raise HTTPException(404, "no such operator")
        if body.get("period") != "day" or request.query_params.get("export_mode") != "async":
            raise HTTPException(400, "only exports of days, and only such as are waited for, are pretended here")
        if not isinstance(start, int) or not isinstance(end, int) or start > end:
            raise HTTPException(400, "from and to are not right")
        if start < (now - _OLDEST).timestamp() or end > now.timestamp():
            raise HTTPException(400, "from and to are between 18 months ago and now")
        first, last = (datetime.fromtimestamp(moment, UTC).date() for moment in (start, end))
        file = f"fe_{secrets.token_hex(16)}"
        ready_at = now + timedelta(seconds=self.script.export_takes_s)
        self._exports[file] = _Export(first, last, ready_at, secrets.token_urlsafe(16))
        return JSONResponse({"exportedFileId": file, "exportedFilePath": f"//files/exported/{file}"})

    async def _export_status(self, request: Request) -> Response:
        export = self._exports.get(request.path_params["file"])
        if export is None:
            raise HTTPException(404, "no such export")
        if export.ready_at > self.lines.clock():
            return JSONResponse({"status": "processing"})
        base = str(request.base_url).removesuffix("/")
        url = f"{base}/exports/{request.path_params['file']}.csv?key={export.key}"
        return JSONResponse({"status": "exported", "url": url})

    async def _export(self, request: Request) -> Response:
        """Hand a file out to whoever has its address; a session's headers have no business here."""
        export = self._exports.get(request.path_params["file"])
        if export is None or request.query_params.get("key") != export.key:
            return Response("<Error><Code>AccessDenied</Code></Error>", 403, media_type="application/xml")
        if "x-soracom-token" in request.headers:
            raise HTTPException(400, "a token was shown to the store of files")
        return Response(csv_of(self.lines, export.first, export.last), media_type="text/csv")

    def _known(self, sim: str) -> Line:
        line = self._by_id.get(sim)
        if line is None:
            raise HTTPException(404, "no such SIM")
        return self.lines.settle(line)

    def _described(self, line: Line) -> dict[str, Any]:
        """Return a line as the interface shows it."""
        words = self.lines.settle(line).words
        milliseconds = int(line.modified_at.timestamp() * 1000)
        subscriber = {"imsi": line.imsi, "msisdn": line.msisdn, "status": words["status"], "bundles": None}
        profile = {"iccid": line.iccid, "primaryImsi": line.imsi}
        online = words["status"] == "active"
        session = {"imei": line.imei, "online": online, "lastUpdatedAt": milliseconds} if line.imei else None
        return {
            "simId": sim_id(line),
            "operatorId": self.operator_id,
            "type": "uicc",
            "status": words["status"],
            "speedClass": words["speed"],
            "activeProfileId": line.iccid,
            "profiles": {
                line.iccid: profile | {"subscribers": {line.imsi: subscriber | {"subscription": words["plan"]}}}
            },
            "sessionStatus": session,
            "imeiLock": {"imei": words["imei_lock"]} if words["imei_lock"] else None,
            "lastModifiedTime": milliseconds,
            "tags": {},
        }


def sim_id(line: Line) -> str:
    """Return what the carrier calls a line."""
    return f"89{line.iccid[-12:]}{line.index:06}"
