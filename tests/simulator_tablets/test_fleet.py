"""Fleets, their control endpoint and the command line."""

import asyncio
import hashlib
import json
import os
import plistlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import httpx2
import pytest

from simulator.control import control
from simulator.tablets.device import Device
from simulator.tablets.enlisting import Papers
from simulator.tablets.fleet import Recruit, read_recruits
from simulator.tablets.journal import WITNESSED, Event
from simulator.tablets.orders import read_order
from simulator.web import Client, Unreachable


def test_a_push_through_the_push_service_reaches_its_tablet(town, push_pki):
    """A real HTTP/2 push with the tablet's token wakes that tablet and no other."""

    async def run() -> None:
        async with town() as t:
            other = t.fleet.add(Device("INVENTED0002"))
            for tablet in (t.tablet, other):
                await tablet.enroll(t.door.profile())
                await tablet.settled()
            context = ssl.create_default_context(cafile=push_pki.authority)
            context.load_cert_chain(push_pki.push_certificate, push_pki.push_key)
            async with httpx2.AsyncClient(http1=False, http2=True, verify=context) as client:
                enrollment = t.tablet.enrollment
                answer = await client.post(
                    f"{t.fleet.cloud.url}/3/device/{enrollment.token.hex()}",
                    json={"mdm": enrollment.magic},
                    headers={"apns-topic": push_pki.topic, "apns-push-type": "mdm"},
                )
            assert answer.status_code == 200
            await t.tablet.settled()
            assert len(t.tablet.journal.of(Event.PUSHED)) == 1
            assert other.journal.of(Event.PUSHED) == []

    asyncio.run(run())


def test_many_tablets_enroll_and_the_refused_are_counted_apart(town, tmp_path):
    """A tablet that is kept out does not hinder the others."""

    async def run() -> None:
        async with town() as t:
            good, bad = tmp_path / "good", tmp_path / "bad"
            good.write_bytes(t.door.profile())
            bad.write_bytes(t.door.profile(challenge="guessed"))
            recruits = [Recruit(Device(f"S{number}"), str(good if number else bad)) for number in range(20)]
            await t.fleet.enroll([*recruits, Recruit(Device("S99"), str(tmp_path / "absent"))])
            summary = t.fleet.summary()
            assert (summary["enrolled"], summary["events"]["refused"]) == (19, 2)

    asyncio.run(run())


def test_the_control_endpoint_watches_and_troubles_tablets(town):
    """Another process can read journals, swap a SIM and change behaviour; nonsense is answered 4xx."""

    async def run() -> None:
        async with town() as t:
            await t.tablet.enroll(t.door.profile())
            listener = socket.create_server(("127.0.0.1", 0))
            server = control(t.fleet)
            serving = asyncio.ensure_future(server.serve(sockets=[listener]))
            base = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with httpx2.AsyncClient(base_url=base) as client:
                assert (await client.get("/status")).json()["enrolled"] == 1
                changed = await client.post("/tablets/INVENTED0001/sim", json={"iccid": "8981100000000000027"})
                assert changed.json()["device"]["iccid"] == "8981100000000000027"
                assert changed.json()["journal"][0]["event"] == "sent"
                assert (await client.patch("/behaviour", json={"not_now": 0.5})).status_code == 200
                assert t.tablet.behaviour.not_now == 0.5
                assert (await client.patch("/push-service", json={"everyone": {"status": 503}})).status_code == 200
                assert t.fleet.cloud.script.everyone.status == 503
                assert (await client.patch("/behaviour", json={"mood": 1})).status_code == 400
                one = {"serials": ["INVENTED0001"], "silent_after_install": 1, "silent_marker": "jp.bad"}
                assert (await client.patch("/behaviour", json=one)).status_code == 200
                assert t.tablet.behaviour.silent_marker == "jp.bad"
                assert t.fleet.add(Device("INVENTED0003")).behaviour.silent_marker == ""
                assert (await client.patch("/behaviour", json={"serials": ["NOBODY"]})).status_code == 404
                assert (await client.post("/tablets/INVENTED0001/fly")).status_code == 404
                assert (await client.get("/tablets/NOBODY")).status_code == 404
            server.should_exit = True
            await serving

    asyncio.run(run())


def test_a_tablet_may_be_enlisted_by_values(town):
    """It speaks with the certificate it was given, keeps no needless lines, and a push to its token wakes it."""

    async def run() -> None:
        async with town(keeps=WITNESSED) as t:
            await t.tablet.enroll(t.door.profile())
            await t.tablet.settled()
            given = t.tablet.enrollment
            papers = Papers(
                url=f"{t.door.url}/mdm",
                topic=given.profile.topic,
                certificate=given.signer.der,
                key=given.signer.key,
                token=bytes(32),
                magic="MAGIC",
            )
            enlisted = t.fleet.enlist(Device("INVENTED0002"), papers)
            t.door.order("DeviceLock")
            t.fleet.directory[bytes(32)].push("MAGIC")
            await enlisted.settled()
            assert t.door.identities[-1] == hashlib.sha256(given.signer.der).digest()
            assert t.door.reports[-1]["UDID"] == enlisted.device.udid
            assert [entry.event for entry in enlisted.journal.entries] == [Event.EXECUTED]
            assert t.fleet.summary()["enrolled"] == 2

    asyncio.run(run())


def test_a_proxy_may_vouch_for_a_tablet(town):
    """Behind a proxy each message carries the certificate as RFC 9440 writes it, and no signature but if asked."""

    async def run() -> None:
        async with town(proxied=True) as t:
            await t.tablet.enroll(t.door.profile())
            await t.tablet.settled()
            given = t.tablet.enrollment
            papers = Papers(f"{t.door.url}/mdm", "topic", given.signer.der, given.signer.key, b"t", "m", signs=False)
            await t.fleet.enlist(Device("INVENTED0002"), papers).check_in()
            assert len(t.door.identities) == len(t.door.vouched) - 1
            assert set(t.door.vouched) == set(t.door.identities)

    asyncio.run(run())


def test_recruits_are_read_from_json_lines():
    """A line may name a file, an address or a path on the door; an unknown field is an error with its line."""
    lines = ['{"serial": "A", "profile": "/tmp/a"}', "", '{"serial": "B", "path": "/enroll/b"}', '{"serial": "C"}']
    recruits = list(read_recruits(lines, template="/enroll/{serial}", door="http://door/"))
    assert [each.profile for each in recruits] == ["/tmp/a", "http://door/enroll/b", "http://door/enroll/C"]
    with pytest.raises(ValueError, match="line 1"):
        list(read_recruits(['{"serial": "A", "colour": "red"}']))


def test_the_command_line_runs_tablets_until_it_is_told_to_stop(tmp_path: Path):
    """`pki` then `run`: a status line, a journal file, and a clean end at SIGTERM."""
    folder, journal, tablets = tmp_path / "pki", tmp_path / "journal.jsonl", tmp_path / "tablets.jsonl"
    here = [sys.executable, "-m", "simulator"]
    topic = subprocess.run([*here, "pki", "--out", folder], check=True, capture_output=True, text=True).stdout.strip()
    assert topic.startswith("com.apple.mgmt.External.")
    assert oct((folder / "push-bundle.pem").stat().st_mode)[-3:] == "600"
    tablets.write_text(json.dumps({"serial": "S1", "profile": str(tmp_path / "absent")}))
    command = [*here, "run", "--pki", folder, "--tablets", tablets, "--journal", journal, "--shared-keys", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        address = re.search(r"control (http://\S+)", first)
        assert address is not None
        for line in process.stdout:
            if line.startswith("S1: "):
                break
        with urllib.request.urlopen(f"{address[1]}/status", timeout=5) as answer:
            assert json.load(answer)["enrolled"] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert json.loads(journal.read_text().splitlines()[0])["event"] == "refused"


def test_a_wrong_command_line_is_one_line_and_not_0(tmp_path: Path):
    """A folder without certificates is named, without a traceback."""
    command = [sys.executable, "-m", "simulator", "run", "--pki", tmp_path]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "push.pem" in ended.stderr


def test_the_http_client_reads_both_framings_and_outlives_closed_connections():
    """Content-Length and chunked bodies are read; a kept connection that the server dropped is opened anew."""
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ]

    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answers[seen[0] % 3])
            seen[0] += 1
            await writer.drain()
            writer.close()  # without saying so: the client may have kept it

        seen = [0]
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        client = Client(connections=1)
        got = [await client.request("GET", url) for _ in range(3)]
        assert [(each.status, each.body) for each in got] == [(200, b"abc"), (200, b"abc"), (500, b"")]
        await client.close()
        server.close()
        await server.wait_closed()
        with pytest.raises(Unreachable):
            await client.request("GET", url)

    asyncio.run(run())


def test_an_order_is_read_the_same_with_and_without_the_cache():
    """Only the CommandUUID may differ between tablets that are told the same; odd orders are read in full."""
    command = {"RequestType": "InstallProfile", "Payload": b"<key>CommandUUID</key><string>not this</string>"}
    for uuid in ("0E0A5B2E-0001", "0E0A5B2E-0002", "with <odd> signs"):
        order = read_order(plistlib.dumps({"Command": command, "CommandUUID": uuid}))
        assert (order.uuid, order.command) == (uuid, command)
    nested = {"RequestType": "Settings", "CommandUUID": "inner"}
    order = read_order(plistlib.dumps({"Command": nested, "CommandUUID": "outer"}))
    assert (order.uuid, order.command) == ("outer", nested)
