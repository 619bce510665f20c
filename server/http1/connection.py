"""A connection and its states (RFC 9112, section 9): requests are answered one after the other, as they came."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from server.http1 import kernel
from server.http1.answer import Answer
from server.http1.reading import Reader, Refused, Request

if TYPE_CHECKING:
    from server.http1.server import Server


class State(Enum):
    """What is awaited on a connection; the value is for how many seconds."""

    IDLE = 75.0  # a request
    RECEIVING = 10.0  # the rest of one
    ANSWERING = math.inf  # its answer
    SENDING = 30.0  # that the peer takes what is written
    LINGERING = 5.0  # that the peer closes: what it still sends is dropped (section 9.6)


# Read from their class, members of an `Enum` cost as much as a call.
IDLE, RECEIVING, ANSWERING, SENDING, LINGERING = State
# While the server stops: for a request, for the rest of one, and for the peer to close. Who was answered just now will
# send again, and is told by that answer to send no more here; who does not send within this time is hung up on.
STOPPING_SECONDS = 0.5
STOPS = "the service stops: send it again"
NOT_BEGUN = "the service stops: what is on its way here was not begun, send it again"
UNFINISHED = "the service stops, and what was asked may have been done: send it again with the same Idempotency-Key"
INTERNAL_ERROR = "internal error: report the X-Request-ID of this response"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """Reads requests, has each answered when the one before it is, and closes when it is time.

    What is sent in a turn of the event loop is written in the next, by all connections one after the other.
    """

    transport: asyncio.Transport

    def __init__(self, server: "Server") -> None:
        self.server = server
        self._reader = Reader(server.admit)
        self._state = IDLE
        self._since = 0.0  # since when it is awaited (seconds, of `time.perf_counter`)
        self._answer: Answer | None = None  # to the request that is being answered
        self._reads = True
        self._peer_has_finished = False  # half-closed: it sends no more, and may still read
        self._is_blocked = False  # the transport's buffer is full: the peer does not read
        self._buffered = 0  # bytes in that buffer, when they were last looked at
        self._unsent: list[bytes] = []  # to be written in the next turn
        self._flushed: list[Callable[[], None]] = []  # called when the peer has taken what was sent
        self._address = ""

    # What the answers call.

    def send(self, data: bytes, flushed: Callable[[], None]) -> None:
        """Send; `flushed` is called when the peer has taken nearly all of it, or the connection is lost."""
        if not self._unsent:
            self.server.sends(self)
        self._unsent.append(data)
        self._flushed.append(flushed)

    def answered(self, is_last: bool) -> None:
        """The answer is complete: go on to the next request when it is written, or end the connection."""
        self._answer = None
        if is_last:
            self._linger()
        else:
            self._serve()

    def abort(self) -> None:
        """Close at once; what is written is lost."""
        self._state = LINGERING
        self.transport.abort()

    # What the server calls.

    def flush(self) -> None:
        """Write what was sent, and go on to the next request if that was the answer to one."""
        self._write()
        self._serve()

    def end(self) -> None:
        """Close when everything is written. Whose request has not come completely, or is not answered, is told so."""
        self._write()
        if self._state is IDLE:
            self._hang_up()
        elif self._state is RECEIVING:
            self._refuse(_stops(STOPS))
        elif self._answer is not None and not self._answer.has_begun:
            self._refuse(_stops(UNFINISHED, self._answer.request))
        else:
            self.transport.close()

    def expire(self, now: float) -> None:
        """End what has been awaited for too long."""
        if now < self._since + self._patience():
            return
        if self._state is IDLE:
            if kernel.unread(self.transport):
                return  # it is read in this turn
            if self.server.is_stopping:
                self._hang_up()
            else:
                self._linger()
        elif self._state is RECEIVING:
            self._refuse(
                _stops(STOPS)
                if self.server.is_stopping
                else Refused(
                    f"the request was not complete within {RECEIVING.value:.0f} s: send it again",
                    HTTPStatus.REQUEST_TIMEOUT,
                )
            )
        elif self._is_blocked and self.transport.get_write_buffer_size() < self._buffered:
            self._await(self._state)  # the peer is slow, and goes on
        else:
            self.abort()

    # Callbacks of the transport (asyncio.Protocol).

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if peer else ""
        self.server.opened(self)
        self._await(IDLE)

    def data_received(self, data: bytes) -> None:
        if self._state is LINGERING:
            return
        self._reader.feed(data, time.perf_counter())
        if self._state is IDLE or self._state is RECEIVING:
            self._serve()
        else:  # it waits until the request before it is answered
            self._reads = False
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._peer_has_finished = True
        if self._state is LINGERING:
            return False
        self._serve()
        return True  # what has come is still answered

    def pause_writing(self) -> None:
        self._is_blocked = True
        self._await(SENDING)

    def resume_writing(self) -> None:
        self._is_blocked = False
        # Later, because asyncio's transport must not be closed while it calls this.
        asyncio.get_running_loop().call_soon(self._go_on)

    def connection_lost(self, error: Exception | None) -> None:
        self._state, self._is_blocked = LINGERING, False
        self._call_flushed()
        if self._answer is not None:
            self._answer.gone()
        self.server.lost(self)

    # One request after the other.

    def _serve(self) -> None:
        """Have the next request answered, or wait for it, if the answer before it is written."""
        if self._unsent or self._answer is not None or self._is_blocked or self._state is LINGERING:
            return
        requests = self._reader.requests
        if not requests or not requests[0].is_complete:
            self._wait()
            return
        request = requests.popleft()
        answer = self._answer = self._begin(request)
        try:
            self.server.respond(request, answer)
        except Refused as refused:
            refused.request = request
            self._refuse(refused)
        except Exception:
            logging.exception("Uncaught exception: %s %s", request.method.decode(), request.path)
            if answer.has_begun:
                self.abort()
            else:
                self._refuse(Refused(INTERNAL_ERROR, HTTPStatus.INTERNAL_SERVER_ERROR, request=request))

    def _wait(self) -> None:
        """Wait for more, or end the connection if there will be no more."""
        reader = self._reader
        if reader.refused is not None:
            self._refuse(reader.refused)
        elif self._peer_has_finished and reader.is_inside:
            self._refuse(Refused("the request ends in the middle: send it again, as long as it says"))
        elif self._peer_has_finished:
            self._linger()
        else:
            if reader.requests and reader.requests[0].expects_continue:
                reader.requests[0].expects_continue = False
                self.transport.write(CONTINUE)
            state = RECEIVING if reader.is_inside else IDLE
            if state is not self._state:
                self._state, self._since = state, time.perf_counter()
            if not self._reads:
                self._reads = True
                self.transport.resume_reading()

    def _refuse(self, refused: Refused) -> None:
        """Answer that this is no request, or none that is accepted. The connection ends: what follows is unknown."""
        request = refused.request or Request.unknown(time.perf_counter())
        request.keeps_alive = False
        self._answer = self._begin(request)
        self.server.refuse(refused, self._answer)

    def _begin(self, request: Request) -> Answer:
        self._state, caller = ANSWERING, self.server.caller
        return Answer(self, request, self._address if caller is None else caller(self._address, request))

    def _hang_up(self) -> None:
        """Tell an idle caller that the server stops, and end the connection.

        A request may be on its way: it gets this as its answer, and so does not end in silence (RFC 9110, 15.5.9).
        """
        self._refuse(Refused(NOT_BEGUN, HTTPStatus.REQUEST_TIMEOUT, {"Retry-After": "1"}))

    def _linger(self) -> None:
        """End the connection. At once, what is still on its way to us would destroy what is on its way to the peer."""
        self._write()
        self._await(LINGERING)
        if self._peer_has_finished or self.transport.is_closing():
            self.transport.close()
            return
        with contextlib.suppress(OSError):  # the peer has gone
            self.transport.write_eof()
        if not self._reads:
            self._reads = True
            self.transport.resume_reading()

    def _patience(self) -> float:
        """For how many seconds what is awaited now is awaited."""
        if self._is_blocked or (self._state is LINGERING and kernel.untaken(self.transport)):
            return SENDING.value
        most = STOPPING_SECONDS if self.server.is_stopping and self._state is not ANSWERING else math.inf
        return min(self._state.value, most)

    def _await(self, state: State) -> None:
        self._state, self._since = state, time.perf_counter()
        if self._is_blocked:
            self._buffered = self.transport.get_write_buffer_size()

    def _write(self) -> None:
        # In LINGERING it is an answer that comes after its caller was told that the server stops.
        if self._unsent and self._state is not LINGERING and not self.transport.is_closing():
            self.transport.write(b"".join(self._unsent))
        self._unsent.clear()
        if not self._is_blocked:
            self._call_flushed()

    def _go_on(self) -> None:
        self._call_flushed()
        if self._state is SENDING:
            self._await(ANSWERING)
        self._serve()

    def _call_flushed(self) -> None:
        callbacks, self._flushed = self._flushed, []
        for flushed in callbacks:
            flushed()


def _stops(detail: str, request: Request | None = None) -> Refused:
    return Refused(detail, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "1"}, request)
