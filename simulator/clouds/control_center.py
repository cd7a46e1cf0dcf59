"""A pretended Cisco IoT Control Center: lines, counters of the billing cycle and orders, checked as documented.

After developer.cisco.com/docs/control-center, titobrasolin/jasper-client-python `specs/` and api-evangelist/rogers
(limits, errors). No server code here, and nothing that ever spoke to the real one.
"""

import base64
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.clouds.carrier import CarrierCloud, body_of, page_of
from simulator.clouds.carrier_script import Script
from simulator.clouds.lines import Clock, Line, Lines, days_between

_JAPAN: Final = 540
_STATUS: Final = ("TEST_READY", "INVENTORY", "ACTIVATION_READY", "ACTIVATED", "DEACTIVATED", "RETIRED", "PURGED")
_PLANS: Final = ("GIGA 7GB", "GIGA 3GB", "another plan")
_EDITABLE: Final = frozenset({"status", "ratePlan", "effectiveDate", "communicationPlan", "deviceID"})

Handler = Callable[[Request], Awaitable[Response]]


class ControlCenterCloud(CarrierCloud):
    """The pretended service under `/rws/api/v1`. Cycles begin on the first; days are Japan's."""

    def __init__(
        self,
        numbers: list[tuple[str, str]],
        *,
        username: str,
        api_key: str,
        seed: int = 0,
        script: Script | None = None,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        lines = Lines(
            numbers,
            script=script or Script(calls_per_s=5, in_flight=1),
            words={"status": "ACTIVATED", "plan": _PLANS[0]},
            carrying=frozenset({"ACTIVATED"}),
            utc_offset=_JAPAN,
            seed=seed,
            clock=clock,
        )
        for line in lines.all[::3]:
            line.words["plan"] = _PLANS[1]
        self._basic = "Basic " + base64.b64encode(f"{username}:{api_key}".encode()).decode()
        super().__init__(lines, self._routes())

    def _routes(self) -> list[Route]:
        root = "/rws/api/v1"
        return [
            Route(f"{root}/devices", self._known(self._devices)),
            Route(f"{root}/devices/{{iccid}}", self._known(self._device)),
            Route(f"{root}/devices/{{iccid}}", self._known(self._edit), methods=["PUT"]),
            Route(f"{root}/usages", self._known(self._usages)),
        ]

    def _known(self, handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            given = request.headers.get("authorization")
            if given is None:
                return JSONResponse({"errorMessage": "Full authentication is required to access this resource"}, 401)
            if given != self._basic:
                return JSONResponse({"errorMessage": "Invalid credentials", "errorCode": "10000001"}, 401)
            try:
                return await handler(request)
            except HTTPException as error:
                return JSONResponse({"errorMessage": error.detail, "errorCode": "10000024"}, error.status_code)

        return checked

    async def _devices(self, request: Request) -> Response:
        since = _moment(request.query_params.get("modifiedSince"))
        found = [line for line in map(self.lines.settle, self.lines.all) if line.modified_at >= since]
        wanted = request.query_params.get("status")
        found = [line for line in found if wanted is None or line.words["status"] == wanted]
        shown, frame = _paged(request, sorted(found, key=lambda line: line.modified_at))
        return JSONResponse({"devices": [_short(line) for line in shown], **frame})

    async def _device(self, request: Request) -> Response:
        line = self._line(request)
        changed = f"{line.modified_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}.000+0000"
        more = {"imsi": line.imsi, "msisdn": line.msisdn, "imei": line.imei, "dateUpdated": changed, "customer": None}
        return JSONResponse(_short(line) | more)

    async def _edit(self, request: Request) -> Response:
        line, body = self._line(request), await body_of(request)
        if not body or not body.keys() <= _EDITABLE:
            raise HTTPException(400, "no parameter that can be changed")
        if body.get("status", _STATUS[0]) not in _STATUS or body.get("ratePlan", _PLANS[0]) not in _PLANS:
            raise HTTPException(400, "no such status or plan")
        if line.words["status"] in ("RETIRED", "PURGED"):
            raise HTTPException(400, "the line is gone for good")
        names = {"status": "status", "ratePlan": "plan"}
        self.order(line, {names[name]: str(value) for name, value in body.items() if name in names})
        return JSONResponse({"iccid": line.iccid}, 202 if self.script.status_takes_s else 200)

    async def _usages(self, request: Request) -> Response:
        plan = request.query_params.get("ratePlanName")
        if plan not in _PLANS:
            raise HTTPException(404 if plan else 400, "no such rate plan")
        today = self.lines.today()
        start = today.replace(day=1)
        named = request.query_params.get("cycleStartDate")
        if named is not None:
            if re.fullmatch(r"\d{4}-\d{2}-01(Z|\+00:00)?", named) is None or date.fromisoformat(named[:10]) > today:
                raise HTTPException(400, "cycleStartDate is not right")
            start = date.fromisoformat(named[:10])
        lines = [line for line in map(self.lines.settle, self.lines.all) if line.words["plan"] == plan]
        shown, frame = _paged(request, lines)
        zones: dict[str, list[dict[str, Any]]] = {}
        for line in shown:
            for zone, used in self._by_zone(line, start).items():
                zones.setdefault(zone, []).append({"deviceId": line.iccid, "usage": {"dataUsage": used}})
        if shown and self.lines.doubled(shown[-1], start):
            of_last = self._by_zone(shown[-1], start)
            again = [{"deviceId": shown[-1].iccid, "usage": {"dataUsage": used}} for used in of_last.values()]
            zones[next(iter(of_last))] += again[:1]
        answer = {"ratePlanName": plan, "cycleStartDate": f"{start.isoformat()}Z", **frame}
        return JSONResponse(answer | {"zones": [{"zone": zone, "devices": found} for zone, found in zones.items()]})

    def _by_zone(self, line: Line, start: date) -> dict[str, int]:
        """Return a cycle's bytes; some lines have been over the border of a zone, and stand in both."""
        end = min((start.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1), self.lines.today())
        total = sum(self.lines.shown(line, day).total for day in days_between(start, end))
        abroad = total // 10 if line.index % 7 == 0 else 0
        return {"Japan": total - abroad} | ({"Asia": abroad} if abroad else {})

    def _line(self, request: Request) -> Line:
        line = self.lines.by_iccid.get(request.path_params["iccid"])
        if line is None:
            raise HTTPException(404, "Resource not found - Invalid ICCID")
        return self.lines.settle(line)


def _short(line: Line) -> dict[str, Any]:
    words = line.words
    return {
        "iccid": line.iccid,
        "status": words["status"],
        "ratePlan": words["plan"],
        "communicationPlan": "Data LTE",
    }


def _paged(request: Request, lines: list[Line]) -> tuple[list[Line], dict[str, Any]]:
    size = page_of(request, "pageSize", most=50, default=50)
    number = page_of(request, "pageNumber", most=100_000, default=1)
    shown = lines[(number - 1) * size : number * size]
    return shown, {"pageNumber": number, "lastPage": number * size >= len(lines)}


def _moment(text: str | None) -> datetime:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        raise HTTPException(400, "modifiedSince is needed, in the form yyyy-MM-ddTHH:mm:ssZ") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
