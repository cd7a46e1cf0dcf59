"""The HTTP/2 side of the pretended push service: one asyncio protocol per connection, faults included.

Judgement and journal belong to the cloud; this file only moves frames. RFC 9113.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Protocol, cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hpack import HeaderTuple, NeverIndexedHeaderTuple
from hyperframe.frame import GoAwayFrame

from simulator.clouds.apns_script import Answer, Mishap, Script
from simulator.clouds.pki import topic_of

WINDOW = 2**24
"""Receive window of a connection, renewed when half is used."""


SLICE = 8192
"""Bytes read between two flushes of answers."""
LINGER = 0.2
"""Seconds between the last answer after GOAWAY and the close, so that a busy client reads it before a TCP reset."""


@dataclass(slots=True)
class Request:
    """A request as it arrives; `token` is the last segment of the path."""

    headers: dict[str, str]
    body: bytes = b""
    waits: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def token(self) -> str:
        """The device token in hex, as the path names it."""
        return self.headers.get(":path", "").rpartition("/")[2]


class Cloud(Protocol):
    """What a connection asks of the service it belongs to."""

    script: Script
    strict: bool

    def opened(self, connection: "Http2Connection") -> None: ...  # noqa: D102
    def closed(self, connection: "Http2Connection") -> None: ...  # noqa: D102
    def judge(self, request: Request, topic: str | None) -> Answer: ...  # noqa: D102
    def record(self, request: Request, outcome: str, *, delivered: bool) -> str: ...  # noqa: D102


class _ServerSide(h2.connection.H2Connection):
    """h2 counts open streams by walking all of them at each request; here the owner's count stands in."""

    live = 0
    _asked = 0

    @property
    def open_inbound_streams(self) -> int:
        self._asked += 1
        if self._asked % 256 == 0:  # the walk also forgets closed streams
            super().open_inbound_streams  # noqa: B018
        return self.live


class Http2Connection(asyncio.Protocol):
    """One client connection of the pretended service."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._topic: str | None = None
        self._requests: dict[int, Request] = {}
        self._count = 0
        self._last_answered: int | None = None
        self._unacknowledged = 0
        self._h2 = _ServerSide(
            h2.config.H2Configuration(
                client_side=False,
                header_encoding="utf-8",
                validate_inbound_headers=cloud.strict,
                normalize_inbound_headers=cloud.strict,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send our settings; the handshake has already demanded a certificate."""
        self._transport = cast("asyncio.Transport", transport)
        der = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self._topic = topic_of(der) if der else None
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self._cloud.script.max_concurrent_streams,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 8192,
            },
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW)
        self._cloud.opened(self)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """What was waiting for its answer was never delivered."""
        self._cloud.closed(self)
        for request in self._requests.values():
            if request.waits is not None:
                request.waits.cancel()
                self._cloud.record(request, "lost", delivered=False)
        self._requests.clear()

    def data_received(self, data: bytes) -> None:
        """Read frames, a slice at a time so that the first answers leave while the last requests are still read."""
        for begin in range(0, len(data), SLICE):
            if self._transport.is_closing():
                return
            try:
                events = self._h2.receive_data(data[begin : begin + SLICE])
            except h2.exceptions.ProtocolError:  # a client that breaks the protocol is disconnected
                self._flush()
                self._transport.close()
                return
            for event in events:
                self._on_event(event)
            self._flush()

    def _on_event(self, event: h2.events.Event) -> None:
        if self._transport.is_closing():
            return
        if isinstance(event, h2.events.RequestReceived):
            self._h2.live += 1
            self._requests[event.stream_id] = Request(dict(cast("list[tuple[str, str]]", event.headers)))
        elif isinstance(event, h2.events.DataReceived):
            self._take_body(event)
        elif isinstance(event, h2.events.StreamEnded):
            self._take(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self._forget(event.stream_id)

    def announce(self, limit: int) -> None:
        """Send SETTINGS with a new MAX_CONCURRENT_STREAMS."""
        self._h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: limit})
        self._flush()

    def cut(self) -> None:
        """Tear the connection down without a word."""
        self._transport.abort()

    def _take_body(self, event: h2.events.DataReceived) -> None:
        request = self._requests.get(event.stream_id)
        if request is not None and len(request.body) <= 4096:
            request.body += event.data or b""
        self._unacknowledged += event.flow_controlled_length or 0
        if self._unacknowledged > WINDOW // 2:
            self._h2.increment_flow_control_window(self._unacknowledged)
            self._unacknowledged = 0

    def _take(self, stream_id: int) -> None:
        """A request is complete: a mishap, or an answer now or after the scripted delay."""
        request = self._requests[stream_id]
        if self._last_answered is not None and stream_id > self._last_answered:
            self._cloud.record(request, "ignored", delivered=False)
            self._forget(stream_id)
            return
        self._count += 1
        mishap = self._cloud.script.mishap_for(self._count)
        if mishap is not None and self._befall(stream_id, request, mishap):
            return
        delay = self._cloud.script.delay()
        if self._cloud.script.mute:
            request.waits = self._loop.call_later(3600, self._answer, stream_id)
        elif delay > 0:
            request.waits = self._loop.call_later(delay, self._answer_later, stream_id)
        else:
            self._answer(stream_id)

    def _befall(self, stream_id: int, request: Request, mishap: Mishap) -> bool:
        """Do the mishap; True when the request needs no answer any more."""
        if mishap is Mishap.GOAWAY:
            self._go_away(stream_id, h2.errors.ErrorCodes.NO_ERROR)
            return False
        self._cloud.record(request, mishap.value, delivered=mishap is not Mishap.REFUSE)
        self._forget(stream_id)
        if mishap is Mishap.CUT:
            self._transport.abort()
        elif mishap is Mishap.GOAWAY_ABRUPT:
            self._go_away(stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
            self._transport.close()
        else:
            code = "REFUSED_STREAM" if mishap is Mishap.REFUSE else "INTERNAL_ERROR"
            self._h2.reset_stream(stream_id, h2.errors.ErrorCodes[code])
        return True

    def _go_away(self, last_stream_id: int, code: h2.errors.ErrorCodes) -> None:
        """Write GOAWAY by hand: h2 would refuse to answer the streams that are still owed an answer."""
        self._flush()
        self._last_answered = last_stream_id
        frame = GoAwayFrame(0, last_stream_id=last_stream_id, error_code=int(code))
        self._transport.write(frame.serialize())

    def _answer_later(self, stream_id: int) -> None:
        if stream_id in self._requests and not self._transport.is_closing():
            self._answer(stream_id)
            self._flush()

    def _answer(self, stream_id: int) -> None:
        request = self._requests[stream_id]
        answer = self._cloud.judge(request, self._topic)
        outcome = "200" if answer.status == 200 else f"{answer.status} {answer.reason}"
        apns_id = self._cloud.record(request, outcome, delivered=answer.status == 200)
        # An id never comes twice: it would only push what does out of the table.
        never = NeverIndexedHeaderTuple("apns-id", apns_id)
        headers: list[HeaderTuple] = [HeaderTuple(":status", str(answer.status)), never]
        if answer.retry_after is not None:
            headers.append(HeaderTuple("retry-after", str(answer.retry_after)))
        self._h2.send_headers(stream_id, headers, end_stream=answer.status == 200)
        if answer.status != 200:
            body: dict[str, object] = {"reason": answer.reason}
            if answer.timestamp is not None:
                body["timestamp"] = answer.timestamp
            self._h2.send_data(stream_id, json.dumps(body).encode(), end_stream=True)
        self._forget(stream_id)

    def _forget(self, stream_id: int) -> None:
        request = self._requests.pop(stream_id, None)
        if request is None:
            return
        self._h2.live -= 1
        if request.waits is not None:
            request.waits.cancel()
        if self._last_answered is not None and not any(s <= self._last_answered for s in self._requests):
            self._loop.call_later(LINGER, self._leave)

    def _leave(self) -> None:
        """After a graceful GOAWAY: close once everything owed has been answered."""
        if not self._transport.is_closing():
            self._flush()
            self._transport.close()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)
