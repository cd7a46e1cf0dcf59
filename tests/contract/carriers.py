"""Each kind of carrier with its pretended service, as the contract's tests take them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx2

from mdm.cellular.carriers.connection import Connection
from mdm.cellular.carriers.switchboard import Carrier, carrier_of
from mdm.cellular.carriers.values import SimRecord, Usage
from mdm.cellular.models import CarrierKind
from simulator.clouds.carrier import CarrierCloud
from simulator.clouds.carrier_script import Script
from simulator.clouds.control_center import ControlCenterCloud
from simulator.clouds.icms import GROUPS, TENANT, IcmsCloud
from simulator.clouds.lines import invented_numbers
from simulator.clouds.soracom import SoracomCloud
from tests.serving import serving

MANY = 230
"""Several pages, for carriers that take a hundred or fifty at a time."""


class Clock:
    """The pretended carrier's clock; time passes by hand."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        """Return its time."""
        return self.now

    def passes(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)


@dataclass
class Kind:
    """How to make one kind of carrier, and how its account is set up."""

    cloud: Callable[..., CarrierCloud]
    path: str
    secret: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    usage_tz: str = "Asia/Tokyo"


KINDS = {
    CarrierKind.SORACOM: Kind(
        lambda numbers, **more: SoracomCloud(numbers, key_id="keyId-invented", key="secret-invented", **more),
        "/v1",
        {"authKeyId": "keyId-invented", "authKey": "secret-invented"},
        usage_tz="UTC",
    ),
    CarrierKind.CONTROL_CENTER: Kind(
        lambda numbers, **more: ControlCenterCloud(numbers, username="invented", api_key="key-invented", **more),
        "/rws/api/v1",
        {"username": "invented", "api_key": "key-invented"},
    ),
    CarrierKind.ICMS: Kind(
        lambda numbers, **more: IcmsCloud(numbers, api_key="key-invented", api_secret="secret-invented", **more),
        "/icms-esim/v2",
        {"api_key": "key-invented", "api_secret": "secret-invented"},
        {"tenant_id": TENANT, "sim_groups": list(GROUPS)},
    ),
}


@dataclass
class Line:
    """One account's line to its pretended carrier."""

    kind: CarrierKind
    carrier: Carrier
    cloud: CarrierCloud
    clock: Clock
    url: str
    paced: list[None] = field(default_factory=list)
    clients: list[httpx2.Client] = field(default_factory=list)

    def connection(self, **changes: Any) -> Connection:
        """Return a new connection, as a worker makes one."""
        how = KINDS[self.kind]
        options = how.options | ({"keystone_url": f"{self.url}/keystone"} if "tenant_id" in how.options else {})
        settings = {"secret": how.secret, "options": options} | changes
        self.clients.append(httpx2.Client(base_url=self.url + how.path, timeout=10, follow_redirects=False))
        return Connection(
            http=self.clients[-1],
            billing_tz="Asia/Tokyo",
            usage_tz=how.usage_tz,
            cycle_anchor_day=1,
            pace=lambda: self.paced.append(None),
            **settings,
        )

    def all_sims(self, connection: Connection) -> list[SimRecord]:
        """Return all lines, page by page."""
        return list(_items(lambda cursor: self.carrier.sims(connection, changed_since=None, cursor=cursor)))

    def all_usage(self, connection: Connection, first: date, last: date) -> list[Usage]:
        """Return all usage, page by page; what the carrier wants waited for passes at once."""
        return list(
            _items(
                lambda cursor: self.carrier.usage(connection, first=first, last=last, cursor=cursor),
                lambda seconds: self.clock.passes(seconds=seconds),
            )
        )


@contextmanager
def line_to(kind: CarrierKind, count: int, **script: Any) -> Iterator[Line]:
    """Serve a pretended carrier with so many lines."""
    clock = Clock()
    cloud = KINDS[kind].cloud(invented_numbers(count, seed=7), seed=7, script=Script(**script), clock=clock)
    with serving(cloud) as url:
        line = Line(kind, carrier_of(kind), cloud, clock, url)
        try:
            yield line
        finally:
            for client in line.clients:
                client.close()


def _items(ask: Callable[[Any], Any], wait: Callable[[float], None] = lambda _: None) -> Iterator[Any]:
    cursor = None
    for _ in range(1000):
        page = ask(cursor)
        yield from page.items
        cursor = page.cursor
        if cursor is None:
            return
        wait(page.wait_s)
    raise AssertionError("the pages do not end")
