"""A pretended NTT Communications IoT Connect Mobile Type S (ICMS): Keystone sessions and monthly usage by SIM group.

After sdpf.ntt.com/services/docs/icms/api-references (gui, sims) and docs/about-sss/api-references/rsts/First_Step. Only
what is documented there is pretended: neither status words nor acts are. No server code here.
"""

import re
import secrets
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
TENANT: Final = "0123456789abcdef0123456789abcdef"
GROUPS: Final = ("eea3cd65-0000-4000-8000-000000000001", "eea3cd65-0000-4000-8000-000000000002")

Handler = Callable[[Request], Awaitable[Response]]


class IcmsCloud(CarrierCloud):
    """The pretended service under `/icms-esim/v2`, its Keystone under `/keystone`. Months are Japan's."""

    def __init__(
        self,
        numbers: list[tuple[str, str]],
        *,
        api_key: str,
        api_secret: str,
        seed: int = 0,
        script: Script | None = None,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        lines = Lines(
            numbers,
            script=script or Script(),
            words={"status": "active", "plan": "fixed 7340032"},
            carrying=frozenset({"active"}),
            utc_offset=_JAPAN,
            seed=seed,
            clock=clock,
        )
        self._user = {"domain": {"id": "default"}, "name": api_key, "password": api_secret}
        self._sessions: dict[str, datetime] = {}
        super().__init__(lines, self._routes())

    def end_sessions(self) -> None:
        """Forget every session."""
        self._sessions.clear()

    def _routes(self) -> list[Route]:
        tenant = "/icms-esim/v2/tenants/{tenant}"
        return [
            Route("/keystone/v3/auth/tokens", self._token, methods=["POST"]),
            Route(f"{tenant}/gui/simGroups/{{group}}/monthlyUsage", self._signed_in(self._monthly)),
        ]

    def _signed_in(self, handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            until = self._sessions.get(request.headers.get("x-auth-token", ""))
            if until is None or until <= self.lines.clock():
                return JSONResponse({"message": "Unauthorized"}, 401)
            if request.path_params["tenant"] != TENANT:
                return JSONResponse({"message": "Forbidden"}, 403)
            return await handler(request)

        return checked

    async def _token(self, request: Request) -> Response:
        auth = (await body_of(request)).get("auth", {})
        identity = auth.get("identity", {})
        if identity.get("methods") != ["password"] or auth.get("scope") != {"project": {"id": TENANT}}:
            raise HTTPException(400, "methods or scope are not right")
        if identity.get("password", {}).get("user") != self._user:
            return JSONResponse({"error": {"code": 401, "message": "The request you have made requires auth."}}, 401)
        # Tokens were 32 digits, and are up to 240 characters since (sdpf.ntt.com/news/2025072501).
        token, until = secrets.token_urlsafe(150), self.lines.clock() + timedelta(seconds=self.script.token_s or 3600)
        self._sessions[token] = until
        expires = f"{until.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000000Z"
        return JSONResponse({"token": {"expires_at": expires}}, 201, {"X-Subject-Token": token})

    async def _monthly(self, request: Request) -> Response:
        group, month = request.path_params["group"], request.query_params.get("date", "")
        if group not in GROUPS:
            raise HTTPException(400, "no such group")
        if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) is None:
            raise HTTPException(400, "date is needed, in the form yyyy-MM")
        start = date.fromisoformat(f"{month}-01")
        limit = page_of(request, "limit", most=1000, default=1000)
        offset = page_of(request, "offset", least=0, most=10_000_000, default=0)
        wanted = request.query_params.get("iccid", "")
        lines = [line for line in self.lines.all if line.index % len(GROUPS) == GROUPS.index(group)]
        lines = [self.lines.settle(line) for line in lines if wanted in line.iccid][offset : offset + limit]
        if len(lines) > 1 and self.lines.doubled(lines[0], start):
            lines = [lines[0], *lines]
        return JSONResponse({"sims": [self._described(line, start) for line in lines]})

    def _described(self, line: Line, start: date) -> dict[str, Any]:
        last = (start.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        used = sum(self.lines.shown(line, day).total for day in days_between(start, min(last, self.lines.today())))
        profile = {"imsi": line.imsi, "iccid": line.iccid, "msisdn": line.msisdn, "provider": "nttc", "usage": used}
        return {
            "hsn": f"{line.index:010X}",
            "eid": f"89033024{line.index:024}",
            "simOrderNo": "ORDER-INVENTED-1",
            "monthlyProfileUsage": {"profiles": [profile]},
        }
