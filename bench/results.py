"""Acknowledgements per second of the iPads' door, against an empty handler that reads the same bodies. Prints a ratio.

Every request says that one command is done and gets the next: the report is on disk before it is answered
(`synchronous_commit` and `fsync` as in production), and what is handed out is stamped as delivered by then. 15,000
tablets have several commands in line, a wake-up each, and a history (`bench.seeding`); the generator checks that each
answer carries the command that is next in the tablet's line. Both sides over 256 connections; else as `bench.checkin`.

The tablets answer in turn, each a command at a time: between two answers of one tablet lie those of all others.
"""

import json
import plistlib
import statistics
from itertools import pairwise
from uuid import UUID

import psycopg

from bench.load import Generator
from bench.pretend import databases, serving, with_client_certificate
from bench.seeding import District, make_fleet, seed

TABLETS = 15_000
HISTORY = 200
ROUNDS = 5
CONNECTIONS = 256
"""More than in `bench.checkin`: a disk's answer takes milliseconds, and only tablets that wait together share one."""
TURNS = 2
"""Acknowledgements of each tablet in one round."""


def measure(
    *, tablets: int = TABLETS, history: int = HISTORY, rounds: int = ROUNDS, turns: int = TURNS
) -> dict[str, float]:
    """Return the ratio with the rates behind it."""
    district = make_fleet(tablets)
    with databases() as make:
        url = make("results")
        seed(url, district, history=history)
        line = put_in_line(url, (rounds + 1) * turns + 1)
        generator = Generator()
        try:
            for number in range(rounds + 1):
                _keep(generator, f"round {number}", district, line[number * turns : (number + 1) * turns + 1])
            with serving({"door": url}) as ports:
                return _measure(generator, ports, tablets, rounds)
        finally:
            generator.stop()


def _measure(generator: Generator, ports: dict[str, int], tablets: int, rounds: int) -> dict[str, float]:
    rates: dict[str, list[float]] = {"door": [], "empty": []}
    few = min(CONNECTIONS, tablets)
    for number in range(rounds + 1):
        name = f"round {number}"
        door = generator.all_of(name, ports["door"], tablets=tablets, connections=few)
        empty = generator.all_of(name, ports["empty"], tablets=tablets, connections=few, checked=False)
        if number:  # the first is for getting warm
            rates["door"].append(door)
            rates["empty"].append(empty)
    door, empty = statistics.median(rates["door"]), statistics.median(rates["empty"])
    return {
        "result_vs_empty_clientcert": round(door / empty, 3),
        "results_per_s_clientcert": round(door),
        "empty_results_per_s_clientcert": round(empty),
    }


def put_in_line(url: str, length: int) -> list[list[UUID]]:
    """Give every tablet `length` commands, the first handed out already; return their ids by turn and tablet."""
    line = []
    with psycopg.connect(url, autocommit=True) as connection:
        for turn in range(length):
            rows = connection.execute(
                "WITH fresh AS ("
                " INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at,"
                " delivered_at) SELECT device_id, 1, 'restart', '{}', 'restart~' || %s, 1,"
                " CASE %s WHEN 0 THEN 'delivered' ELSE 'sent' END, now() + interval '1 day',"
                " CASE %s WHEN 0 THEN now() END FROM enrollment ORDER BY device_id RETURNING id, device_id),"
                " logged AS (INSERT INTO command_event (command_id, state, note)"
                " SELECT id, 'queued', 'asked for by bench' FROM fresh)"
                " SELECT id FROM fresh ORDER BY device_id",
                (turn, turn, turn),
            )
            line.append([command_id for (command_id,) in rows])
        connection.execute(
            "INSERT INTO wakeup (device_id, lane, due_at, attempts) SELECT device_id, 1, now() + interval '1 minute', 1"
            " FROM enrollment"
        )
        connection.execute("VACUUM ANALYZE")
    return line


def _keep(generator: Generator, name: str, district: District, line: list[list[UUID]]) -> None:
    """Give the generator one round: the acknowledgement of each command but the last, and what must come for it."""
    requests, expected = [], []
    for done, following in pairwise(line):
        for tablet, command_id, next_id in zip(district.tablets, done, following, strict=True):
            said = {"CommandUUID": str(command_id), "Status": "Acknowledged", "UDID": tablet.udid}
            requests.append(with_client_certificate(tablet, plistlib.dumps(said)))
            expected.append(str(next_id).encode())
    generator.keep(name, requests, expected)


if __name__ == "__main__":
    print(json.dumps(measure()))
