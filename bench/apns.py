"""How close the push client comes to what the loopback allows. Prints ratios; nothing here is imported by the server.

`apns_pushes_per_s_vs_loopback_limit` = pushes/s of `H2PushClient` divided by the limit of the same run. The limit is
what a bare client reaches against the same simulated service, over the same kind of TLS connection: its requests
(HEADERS and DATA, same headers) are encoded before the clock starts, it keeps no stream state, and of the answers it
only counts those with END_STREAM. It keeps as many streams open as our client may. The service runs in a process of its
own, so that on two cores client and service each have one; it is Python too and the larger part of the limit, which is
why the client's share of CPU time is reported beside. Client and limit take turns, and medians are compared.
"""

import asyncio
import json
import multiprocessing
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import cast
from uuid import uuid4

import hpack
import uvloop

from mdm.apple.apns import Accepted, Gateway, Push, expiration, tls_context
from mdm.apple.apns_client import H2PushClient
from simulator.clouds.apns import ApnsCloud
from simulator.clouds.pki import PushPki, make_push_pki

PUSHES = 6_000
ROUNDS = 5
CONCURRENCY = 1000
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_END_STREAM = 0x1


def measure(*, pushes: int = PUSHES, rounds: int = ROUNDS) -> dict[str, float]:
    """Run client and limit in turns and return the ratio with the figures behind it."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        pki = make_push_pki(Path(folder))
        ours, theirs = context.Pipe()
        service = context.Process(target=_serve, args=(pki, theirs), daemon=True)
        service.start()
        gateway = Gateway(ours.recv(), pki.push_certificate, pki.push_key, pki.authority)
        try:
            client_rates, limit_rates, shares = [], [], []
            client = H2PushClient(gateway)
            client.send(_batch(pki, 500))
            for _ in range(rounds):
                limit_rates.append(uvloop.run(_limit(gateway, _batch(pki, pushes))))
                rate, share = _ours(client, _batch(pki, pushes))
                client_rates.append(rate)
                shares.append(share)
            client.close()
        finally:
            ours.send("stop")
            service.join(5)
    client_rate, limit = statistics.median(client_rates), statistics.median(limit_rates)
    return {
        "apns_pushes_per_s_vs_loopback_limit": round(client_rate / limit, 3),
        "apns_pushes_per_s": round(client_rate),
        "apns_loopback_limit_per_s": round(limit),
        "apns_client_cpu_share": round(statistics.median(shares), 2),
    }


def _batch(pki: PushPki, count: int) -> list[Push]:
    return [Push(os.urandom(32), str(uuid4()).upper(), pki.topic, uuid4()) for _ in range(count)]


def _ours(client: H2PushClient, batch: Sequence[Push]) -> tuple[float, float]:
    cpu, started = time.process_time(), time.perf_counter()
    outcomes = client.send(batch)
    took = time.perf_counter() - started
    if outcomes.count(Accepted()) != len(batch):
        raise RuntimeError("the service did not accept every push: the figures would mean nothing")
    return len(batch) / took, (time.process_time() - cpu) / took


def _serve(pki: PushPki, pipe: Pipe) -> None:
    async def run() -> None:
        cloud = ApnsCloud(pki)
        await cloud.start()
        pipe.send(cloud.url)
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await cloud.stop()

    uvloop.run(run())


class _Bare(asyncio.Protocol):
    """Writes frames made beforehand and counts answers; SETTINGS are acknowledged, nothing else is looked at."""

    def __init__(self, frames: Sequence[bytes], done: asyncio.Future[None]) -> None:
        self._frames = frames
        self._done = done
        self._sent = self._answered = 0
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_PREFACE)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= 9:
            size = int.from_bytes(self._buffer[at : at + 3], "big")
            if at + 9 + size > len(self._buffer):
                break
            kind, flags = self._buffer[at + 3], self._buffer[at + 4]
            if kind == 4 and not flags:
                self._transport.write(b"\x00\x00\x00\x04\x01\x00\x00\x00\x00")
            elif kind in {0, 1} and flags & _END_STREAM:
                self._answered += 1
            at += 9 + size
        del self._buffer[:at]
        if self._answered >= len(self._frames):
            self._done.set_result(None)
            self._transport.close()
            return
        room = min(CONCURRENCY - (self._sent - self._answered), len(self._frames) - self._sent)
        if room > 0:
            self._transport.write(b"".join(self._frames[self._sent : self._sent + room]))
            self._sent += room


async def _limit(gateway: Gateway, batch: Sequence[Push]) -> float:
    """Pushes/s of the bare client on one connection of its own, its handshake left out of the time."""
    host, port = gateway.url.removeprefix("https://").split(":")
    frames = _encode(f"{host}:{port}", batch)
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    await loop.create_connection(lambda: _Bare(frames, done), host, int(port), ssl=tls_context(gateway))
    started = time.perf_counter()
    await done
    return len(batch) / (time.perf_counter() - started)


def _encode(authority: str, batch: Sequence[Push]) -> list[bytes]:
    """HEADERS and DATA of each push, stream ids 1, 3, 5 …, with the same headers as our client sends."""
    encoder = hpack.Encoder()
    frames = []
    for number, push in enumerate(batch):
        block = encoder.encode(
            [
                (":method", "POST"),
                (":scheme", "https"),
                (":authority", authority),
                hpack.NeverIndexedHeaderTuple(":path", f"/3/device/{push.token.hex()}"),
                ("apns-push-type", "mdm"),
                ("apns-topic", push.topic),
                ("apns-expiration", str(expiration())),
                ("apns-priority", "10"),
                hpack.NeverIndexedHeaderTuple("apns-id", str(push.apns_id)),
            ]
        )
        body = json.dumps({"mdm": push.magic}).encode()
        stream = struct.pack(">I", 2 * number + 1)
        headers = len(block).to_bytes(3, "big") + b"\x01\x04" + stream + block
        frames.append(headers + len(body).to_bytes(3, "big") + b"\x00\x01" + stream + body)
    return frames


if __name__ == "__main__":
    print(json.dumps(measure()))
