"""Idle check-ins per second of the iPads' door, against an empty handler of the same server. Prints ratios.

15,000 enrolled tablets are in each of two databases of one PostgreSQL (`bench.seeding`): in one, each has 200 finished
commands, most of them in the months of the past, some in the hot table; in the other (`…_no_history`), none. Doors and
empty handler are one uvicorn worker each (uvloop, httptools); the load generator has a process of its own and sends
all the same requests, made beforehand, over 64 keep-alive connections. They take turns, and medians are compared.
Before the clock starts, every tablet has been heard once, so that the door is one that has been running for a while.

`…_clientcert`: RFC 9440 header from a trusted proxy. `…_signature`: Mdm-Signature, CMS over the body, RSA-2048.
`checkin_history_vs_none_…`: the ratio with history by that without. `checkin_p99_over_p50`: answering times over 32
connections, which the writing behind of who was heard and the collection of garbage must not stretch.
"""

import json
import statistics

from bench.load import Generator
from bench.pretend import databases, make_requests, serving
from bench.seeding import make_fleet, seed

TABLETS = 15_000
HISTORY = 200
SECONDS = 4.0
ROUNDS = 5
WAYS = ("clientcert", "signature")
_FEW = 32
"""Connections while answering times are measured."""


def measure(
    *, tablets: int = TABLETS, history: int = HISTORY, seconds: float = SECONDS, rounds: int = ROUNDS
) -> dict[str, float]:
    """Return the ratios with the rates behind them."""
    district = make_fleet(tablets)
    with databases() as make:
        urls = {name: make(name) for name in ("history", "none")}
        seed(urls["history"], district, history=history)
        seed(urls["none"], district)
        fleet = make_requests(district)
        generator = Generator()
        try:
            generator.keep("clientcert", [tablet.with_certificate for tablet in fleet])
            generator.keep("signature", [tablet.with_signature for tablet in fleet])
            with serving(urls) as ports:
                return _measure(generator, ports, tablets, seconds, rounds)
        finally:
            generator.stop()


def _measure(
    generator: Generator, ports: dict[str, int], tablets: int, seconds: float, rounds: int
) -> dict[str, float]:
    for way in WAYS:
        for name, port in ports.items():
            generator.rate(way, port, seconds=1, at_least=0 if name == "empty" else tablets)
    rates: dict[tuple[str, str], list[float]] = {(way, name): [] for way in WAYS for name in ports}
    stretches = []
    for turn in range(rounds):
        for way in WAYS:
            # In turns, and every other time the other way round: nobody always comes after the same.
            for name in list(ports)[:: 1 if turn % 2 else -1]:
                rates[way, name].append(generator.rate(way, ports[name], seconds=seconds))
        stretches.append(generator.times("clientcert", ports["history"], seconds=seconds, connections=_FEW))
    middle = {each: statistics.median(values) for each, values in rates.items()}
    found: dict[str, float] = {}
    for way in WAYS:
        found[f"checkin_vs_empty_{way}"] = middle[way, "history"] / middle[way, "empty"]
        found[f"checkin_vs_empty_{way}_no_history"] = middle[way, "none"] / middle[way, "empty"]
        found[f"checkin_history_vs_none_{way}"] = middle[way, "history"] / middle[way, "none"]
    found["checkin_p99_over_p50"] = statistics.median(times.p99 / times.p50 for times in stretches)
    found = {name: round(value, 3) for name, value in found.items()}
    found["checkin_p50_ms"] = round(statistics.median(times.p50 for times in stretches) * 1000, 2)
    for way in WAYS:
        found[f"checkins_per_s_{way}"] = round(middle[way, "history"])
        found[f"empty_requests_per_s_{way}"] = round(middle[way, "empty"])
    return found


if __name__ == "__main__":
    print(json.dumps(measure()))
