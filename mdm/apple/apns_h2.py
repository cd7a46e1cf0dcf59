"""One HTTP/2 connection to Apple on h2: each started push is settled exactly once. Retrying is its owner's business.

RFC 9113 §5.1.2 (concurrency), §6.4 (RST_STREAM), §6.8 (GOAWAY), §8.7 (what is safe to send again).
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from mdm.apple.apns import (
    Accepted,
    Broken,
    Gateway,
    NeverSent,
    Outcome,
    Push,
    Unknown,
    certificate_refusal,
    classify,
    expiration,
    read_reason,
)

_GOAWAY: Final = 7
_FRAME_HEADER: Final = 9
_MAX_FRAME: Final = 16_384
_MAX_ANSWER: Final = 4_096
_SLICE: Final = 4_096
"""Bytes of answers taken in before the owner is told that there may be room."""
_PING_ANSWER_SECONDS: Final = 10.0


class Ticket:
    """A push on its way: where its outcome goes, how often it was put on a wire, and until when it may wait."""

    __slots__ = ("deadline", "push", "settle", "tries")

    def __init__(self, push: Push, settle: Callable[[Outcome], None], deadline: float) -> None:
        self.push = push
        self.settle = settle
        self.deadline = deadline
        self.tries = 0


@dataclass(slots=True)
class _Stream:
    ticket: Ticket
    started: float
    status: int = 0
    retry_after: str | None = None
    body: bytes = b""


class _ClientSide(h2.connection.H2Connection):
    """h2 counts open streams by walking all of them at each request; here the owner's count stands in."""

    live = 0
    _asked = 0

    @property
    def open_outbound_streams(self) -> int:
        self._asked += 1
        if self._asked % 256 == 0:  # the walk also forgets closed streams
            super().open_outbound_streams  # noqa: B018
        return self.live


class Connection(asyncio.Protocol):
    """One connection: `settled(ticket, outcome)` is called once per started ticket, `changed()` when room may grow."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        settled: Callable[[Ticket, Outcome], None],
        changed: Callable[[], None],
    ) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done at the peer's first SETTINGS; failed when the connection ends before."""
        self.usable = False
        self.answered = 0
        self.closed = False
        self.refusal: str | None = None
        """Why Apple refused our certificate, if it did."""
        self._gateway = gateway
        self._authority = urlsplit(gateway.url).netloc
        self._settled = settled
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, _Stream] = {}
        self._buffer = bytearray()
        self._paused = False
        self._heard = self._pinged = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._h2 = _ClientSide(
            h2.config.H2Configuration(
                client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
            )
        )

    # What the owner calls.

    def has_room(self) -> bool:
        """Whether another stream may be opened now (RFC 9113 §5.1.2) and its body fits the windows."""
        return (
            self.usable
            and not self._paused
            and len(self._streams) < self._h2.remote_settings.max_concurrent_streams
            and self._h2.outbound_flow_control_window > _MAX_ANSWER
            and self._h2.remote_settings.initial_window_size >= _MAX_ANSWER
        )

    def owed(self) -> int:
        """How many answers may still come."""
        return len(self._streams)

    def start(self, ticket: Ticket) -> None:
        """Open a stream for `ticket`; call `flush` after the last of a group."""
        ticket.tries += 1
        try:
            stream_id = self._frame(ticket.push)
        except h2.exceptions.ProtocolError:
            self.usable = False
            self._settled(ticket, Unknown("could not be framed"))
            return
        self._streams[stream_id] = _Stream(ticket, self._loop.time())
        self._h2.live = len(self._streams)
        if stream_id > 2**31 - 1000:
            self.usable = False  # stream ids run out: drain, and let the owner open another

    def flush(self) -> None:
        """Hand what is framed to the socket."""
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Close now; what is open becomes Unknown."""
        self.usable = False
        if not self.closed and hasattr(self, "_transport"):
            self._transport.abort()

    def _frame(self, push: Push) -> int:
        stream_id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(
            stream_id,
            [
                HeaderTuple(":method", "POST"),
                HeaderTuple(":scheme", "https"),
                HeaderTuple(":authority", self._authority),
                # Tokens are not for HPACK's table: neither secrecy nor compression gains by it (RFC 7541 §7.1.3).
                NeverIndexedHeaderTuple(":path", f"/3/device/{push.token.hex()}"),
                HeaderTuple("apns-push-type", "mdm"),
                HeaderTuple("apns-topic", push.topic),
                HeaderTuple("apns-expiration", str(expiration())),
                HeaderTuple("apns-priority", "10"),
                NeverIndexedHeaderTuple("apns-id", str(push.apns_id)),
            ],
        )
        self._h2.send_data(stream_id, json.dumps({"mdm": push.magic}).encode(), end_stream=True)
        return stream_id

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Insist on HTTP/2 and send our preface."""
        self._transport = cast("asyncio.Transport", transport)
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self.ready.set_exception(ConnectionError("the push service does not speak HTTP/2"))
            self._transport.abort()
            return
        self._h2.initiate_connection()
        self.flush()
        self._timer = self._loop.call_later(self._beat(), self._tick)

    def connection_lost(self, exc: Exception | None) -> None:
        """Settle all that is open: Broken when our certificate was refused, else Unknown."""
        self.usable = False
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.refusal = self.refusal or certificate_refusal(exc)
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("closed before SETTINGS"))
            self.ready.exception()  # the owner may have stopped waiting
        for stream_id in list(self._streams):
            self._end(stream_id, Broken(self.refusal) if self.refusal else Unknown("connection lost"))
        self._changed()

    def pause_writing(self) -> None:
        """The socket is full: no more streams for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket drains."""
        self._paused = False
        self._changed()

    def data_received(self, data: bytes) -> None:
        """Hand whole frames to h2, except GOAWAY: h2 would refuse the answers that may still follow one."""
        self._heard = self._loop.time()
        self._buffer += data
        begin = end = 0
        while len(self._buffer) - end >= _FRAME_HEADER:
            size = int.from_bytes(self._buffer[end : end + 3], "big")
            if size > _MAX_FRAME:
                self._transport.abort()
                return
            after = end + _FRAME_HEADER + size
            if after > len(self._buffer):
                break
            if self._buffer[end + 3] == _GOAWAY:
                self._feed(bytes(self._buffer[begin:end]))
                self._go_away(bytes(self._buffer[end + _FRAME_HEADER : after]))
                begin = after
            elif after - begin > _SLICE:
                # New streams leave while the rest is still read: both ends work at once.
                self._feed(bytes(self._buffer[begin:after]))
                self._changed()
                begin = after
            end = after
        self._feed(bytes(self._buffer[begin:end]))
        del self._buffer[:end]
        if not self.closed:
            self.flush()
            self._changed()
            self._leave_when_drained()

    # Frames

    def _feed(self, data: bytes) -> None:
        if not data:
            return
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self.usable = False
            self._transport.abort()
            return
        for event in events:
            self._on_event(event)

    def _on_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self._on_headers(event)
        elif isinstance(event, h2.events.StreamEnded):
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                self.answered += 1
                self._end(event.stream_id, classify(stream.status, stream.body, stream.retry_after))
        elif isinstance(event, h2.events.DataReceived):
            stream = self._streams.get(event.stream_id)
            if stream is not None and len(stream.body) < _MAX_ANSWER:
                stream.body += event.data or b""
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            refused = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
            self._end(event.stream_id, NeverSent("stream refused") if refused else Unknown("stream reset"))
        elif isinstance(event, h2.events.RemoteSettingsChanged) and not self.ready.done():
            self.usable = True
            self.ready.set_result(None)

    def _on_headers(self, event: h2.events.ResponseReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        for name, value in event.headers or ():
            if name == b":status" and bytes(value).isdigit():
                stream.status = int(value)
            elif name == b"retry-after":
                stream.retry_after = bytes(value).decode("ascii", "replace")

    def _go_away(self, payload: bytes) -> None:
        """Open no more streams; those above the last id were never acted on (RFC 9113 §6.8)."""
        self.usable = False
        last = int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF
        reason, _ = read_reason(payload[8:])
        if "Certificate" in reason:
            self.refusal = reason
        for stream_id in [s for s in self._streams if s > last]:
            self._streams[stream_id].ticket.tries -= 1  # no fault of the push: only a refused stream counts as a try
            self._end(stream_id, NeverSent(f"GOAWAY {reason}".strip()))

    def _leave_when_drained(self) -> None:
        if not self.usable and self.ready.done() and not self._streams and not self._transport.is_closing():
            self._transport.close()

    def _end(self, stream_id: int, outcome: Outcome) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            return
        self._h2.live = len(self._streams)
        if stream.status == 200 and not isinstance(outcome, Accepted):
            outcome = Accepted()  # the answer was complete but for its END_STREAM
        self._settled(stream.ticket, outcome)

    # Time

    def _beat(self) -> float:
        return min(1.0, self._gateway.stream_timeout / 4)

    def _tick(self) -> None:
        """Time out streams, ping a quiet line, drop a dead one."""
        now = self._loop.time()
        self._timer = self._loop.call_later(self._beat(), self._tick)
        if self._pinged > self._heard and now - self._pinged > _PING_ANSWER_SECONDS:
            self.close()
            return
        late: list[int] = []
        for stream_id, stream in self._streams.items():  # oldest first
            if now - stream.started < self._gateway.stream_timeout:
                break
            late.append(stream_id)
        silent = bool(late) and self._heard < self._streams[late[0]].started
        for stream_id in late:
            self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
            self._end(stream_id, Unknown("no answer in time"))
        if silent:
            self.close()  # nothing at all was heard since: the line is dead, not the stream
            return
        if now - max(self._pinged, self._heard) >= self._gateway.ping_every:
            self._pinged = now
            self._h2.ping(b"tabane\x00\x00")
        self.flush()
        self._changed()
        self._leave_when_drained()
