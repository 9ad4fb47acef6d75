"""Puts deadlines on each part of an HTTP request, and asks the gate about each connection.

uvicorn has a deadline only for the silence between two requests. A connection that sends half a head, a body that
drips, and a peer that does not read its answer would stay for ever. A class of ours around uvicorn's protocol can tell
these apart; at the accept only the number of connections is known.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from broker.admin.problems import MEDIA_TYPE, Problem, document
from broker.seats import is_own, share_of
from broker.service.doors.web_gate import WebGate

PIECE = 16 * 1024  # bytes of a turn of the loop: as chunks of one byte they take 20 ms
LINGER = 2.0  # seconds for the rest of a body that was refused
REST = 4 * 1024 * 1024  # bytes of it that are thrown away; more than this end the connection at once
_FULL = Problem(503, "All connections of this machine to the broker are taken: try again", headers={"Retry-After": "1"})
ENDED = (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)  # of the peer: what it sends now is no request


class WebProtocol(H11Protocol):
    """One connection of the web or of the control socket."""

    def __init__(self, gate: WebGate, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate = gate
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = bytearray()  # bytes that were received and not read yet
        self._behind = False  # there were such bytes, so nothing is received
        self._part = ""  # what the timer waits for
        self._unread: asyncio.TimerHandle | None = None
        self._rest = -1  # bytes of a refused body that may still come; below 0: no body was refused
        self.share = ""

    @property
    def idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def unfinished(self) -> bool:
        """The body of its request is still to come."""
        return self.conn.their_state is h11.SEND_BODY

    def caller(self, transport: asyncio.Transport) -> str:
        """Name of who calls, for the gate."""
        peer = transport.get_extra_info("peername")
        return share_of(str(peer[0])) if peer else "local"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let the gate decide; the head of the first request is due."""
        super().connection_made(transport)
        # tell of the first byte that is not read, after a close too; TLS compares its buffer in another way
        transport.set_write_buffer_limits(high=0 if transport.get_extra_info("sslcontext") is None else 1)
        self.share = self.caller(transport)
        if self._gate.enter(self):
            self._await("head", self._gate.limits.head)
        elif is_own(self.share):
            self._say(_FULL)
            self._part_with(LINGER)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._await("", 0)
        self.resume_writing()
        self._gate.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, a piece in each turn of the loop; the rest of a refused body is thrown away."""
        if self._rest >= 0:
            self._rest -= len(data)
            if self._rest < 0:
                self.end("rest-too-long")
            return
        self._waiting += data
        if len(self._waiting) == len(data):
            self._take()

    def _take(self) -> None:
        """Read a piece, and see which part of the request is due now."""
        if self.transport.is_closing() or self._rest >= 0:  # what was read before the end
            self._waiting.clear()
            self.flow.resume_reading()
            return
        piece = bytes(self._waiting[:PIECE])
        if self.conn.their_state in ENDED:
            self._waiting.clear()
        else:
            super().data_received(piece)
            self._look()
        del self._waiting[: len(piece)]
        if self._waiting:
            self._behind = True
            self.flow.pause_reading()
            self.loop.call_soon(self._take)
        elif self._behind:
            self._behind = False
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Keep the connection for the next request; the rest of a body that was refused has a moment."""
        if self._rest < 0:
            super().on_response_complete()
            self._look()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem, unless another answer has begun; the connection ends."""
        self._gate.report(self.share, "no-http")
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._say(Problem(400, "This is no HTTP request"))
        self.part()

    def _say(self, problem: Problem) -> None:
        """Answer with a problem, whatever was asked."""
        body = json.dumps(document(problem)).encode()
        headers = [("Content-Type", MEDIA_TYPE), ("Content-Length", str(len(body))), ("Connection", "close")]
        headers += problem.headers.items()
        answer = h11.Response(status_code=problem.status, reason=HTTPStatus(problem.status).phrase, headers=headers)
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")

    def part(self) -> None:
        """End the connection; a peer in the middle of a body or of what is no HTTP hears first that it is over.

        A close with bytes unread is a reset, which takes the answer from the peer: for a while they are thrown away.
        """
        if self._rest >= 0 or self.conn.their_state not in (h11.SEND_BODY, h11.ERROR) or self.transport.is_closing():
            return self.transport.close()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._part_with(LINGER)

    def _part_with(self, seconds: float) -> None:
        """Say that nothing more comes, and throw away for so long what still does."""
        self._rest = REST
        self._unset_keepalive_if_required()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._await("rest", seconds)

    def pause_writing(self) -> None:
        """The peer does not read: it has so long."""
        self.flow.pause_writing()
        self._unread = self.loop.call_later(self._gate.limits.answer, self.end, "answer-timeout")

    def resume_writing(self) -> None:
        """The peer reads again."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        if self.flow is not None:
            self.flow.resume_writing()

    def end(self, reason: str) -> None:
        """Close the connection at once, also with an answer that nobody reads."""
        if not self.transport.is_closing() or self._unread is not None:
            self._gate.report(self.share, reason)
        self.transport.abort()

    def _look(self) -> None:
        """Start the deadline of the part that is due; it runs on while the same part is due."""
        if self._rest >= 0:  # the last part of all
            return
        if self.cycle is not None and self.cycle.transport is self.transport:
            self.cycle.transport = _AnswerTransport(self)  # type: ignore[assignment]
        state = self.conn.their_state
        limits = self._gate.limits
        if state is h11.SEND_BODY:
            self._gate.asked(self)
            if self.idle:
                self._await("rest", LINGER)
            else:
                self._await("body", limits.body)
        elif state is h11.IDLE and (self._part == "head" or self.conn.trailing_data[0]):
            self._await("head", limits.head)
        else:
            self._gate.asked(self)
            self._await("", 0)

    def _await(self, part: str, seconds: float) -> None:
        if part == self._part:
            return
        self._part = part
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.end, f"{part}-timeout") if part else None


class _AnswerTransport:
    """The transport, as uvicorn sees it while it answers: a close after the answer is ours to make."""

    def __init__(self, protocol: WebProtocol) -> None:
        self.write, self.is_closing = protocol.transport.write, protocol.transport.is_closing
        self.close = protocol.part
