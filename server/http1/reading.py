"""Reads the requests on a connection, strictly (RFC 9112).

llhttp parses them, which is Node's parser, as `httptools` offers it. It lets a few things pass that a server must or
should refuse; these are refused here.
"""

import functools
import re
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)

# In bytes. A body may be framed by so much: the sizes of its chunks, their extensions, the trailers, and itself.
MAX_HEAD = 16 * 1024
MAX_BODY = 64 * 1024
MAX_FRAMED = 16 * MAX_BODY

# RFC 3986, and RFC 9110, section 7.2. A comma would be valid, and two Hosts that somebody has joined look like that.
HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[0-9A-Za-z._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*)"  # an address in brackets, or a name
    rb"(?::[0-9]{0,5})?"
)
ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
# A line with a method that llhttp does not know: it knows some thirty by name. It is given one of these in its place.
UNKNOWN_METHOD = re.compile(rb"[\r\n]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)( [\x21-\x7e]+ HTTP/1\.[01]\r\n)")
BEGINNING_OF_SUCH = re.compile(rb"[\r\n]*[!#$%&'*+\-.^_`|~0-9A-Za-z]*( [\x21-\x7e]*( [HTP/1.0]*\r?)?)?")
STAND_IN = b"PURGE"


class Refused(Exception):
    """What came is no request, or none that is accepted: the status, the sentence and the headers to answer with.

    `request` is the request as far as it is known, if its head was read.
    """

    def __init__(
        self,
        detail: str,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        headers: Mapping[str, str] | None = None,
        request: "Request | None" = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.headers = headers or {}
        self.request = request


class Request:
    """A request, as bytes that the caller has sent.

    `target` is its path and query, also if an absolute URL was sent. `headers` are by name in lower case, several
    values of one name joined by commas. `read_at` is when its head was complete (seconds, of `time.perf_counter`). The
    body is there when it is complete.
    """

    body = b""
    is_complete = False
    expects_continue = False

    def __init__(
        self,
        method: bytes,
        target: bytes,
        version: str,
        headers: dict[bytes, bytes],
        keeps_alive: bool,
        read_at: float,
    ) -> None:
        self.method = method
        self.target = target
        self.version = version  # "1.1" or "1.0"
        self.headers = headers
        self.keeps_alive = keeps_alive
        self.read_at = read_at

    @classmethod
    def unknown(cls, read_at: float) -> "Request":
        """What could not be read, up to its headers."""
        return cls(b"", b"", "1.1", {}, keeps_alive=False, read_at=read_at)

    def header(self, name: bytes) -> str | None:
        """The value of the header `name`, in lower case; None without one."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def path(self) -> str:
        """The target without its query, which may hold what must not be logged."""
        return self.target.partition(b"?")[0].decode("latin-1")


class Reader:
    """Makes requests of the bytes that come on one connection.

    `admit` is called with each request that announces a body, before any of it is kept, and raises `Refused`.
    """

    def __init__(self, admit: Callable[[Request], None]) -> None:
        self.requests: deque[Request] = deque()  # in the order they came in; the last may be incomplete
        self.refused: Refused | None = None  # what came after them is no request: no more is read
        self.is_over = False  # the last request says that none follows: no more is read
        self.is_inside = False  # a request has begun that has not ended
        self._admit = admit
        self._parser = HttpRequestParser(self)
        self._read_at = 0.0
        self._method = b""  # if it is another than the parser has been told
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._size = 0  # bytes of the head, or of the framed body, that has not ended
        self._parts = 0  # heads and bodies that have ended
        self._is_in_body = False
        self._start = b""  # of a head, while its method is not known

    def feed(self, data: bytes, read_at: float) -> None:
        """Read on. What follows the last request, or what was refused, is dropped."""
        self._read_at = read_at
        while data and not self.is_over and self.refused is None:
            room = MAX_HEAD - (0 if self._is_in_body else self._size)
            piece, data = (data, b"") if len(data) <= room else (data[:room], data[room:])
            parts = self._parts
            try:
                self._parser.feed_data(piece)
            except (HttpParserError, HttpParserUpgrade) as error:
                data = self._read_instead(piece, error, begins=parts == self._parts) + data
            else:
                if self.is_inside or parts == self._parts:
                    self._note(piece, parts)
                else:
                    self._size = 0

    def refuse(self, refused: Refused) -> None:
        """Read no more; the requests before this one are still answered."""
        self.refused = refused
        if self.requests and not self.requests[-1].is_complete:
            refused.request = self.requests.pop()

    def _note(self, piece: bytes, parts: int) -> None:
        """Note that `piece` ends in the middle of a request; when it began, `parts` had ended."""
        self._size = self._size + len(piece) if parts == self._parts else 0
        if self._size >= (MAX_FRAMED if self._is_in_body else MAX_HEAD):
            self.refuse(_too_large() if self._is_in_body else _head_too_large())
        self._start = self._start + piece if self.is_inside and not self._target else b""

    def _read_instead(self, piece: bytes, error: Exception, begins: bool) -> bytes:
        """What to read instead of `piece`, at which the parser has failed; a request `begins` with it."""
        match error:
            case HttpParserUpgrade():
                # The caller offers another protocol, and is answered in this one. The parser would read no body now.
                self._parser, self.is_over = HttpRequestParser(self), False
                return _without_offer(self.requests.pop()) + piece[error.args[0] :]
            case HttpParserInvalidMethodError():
                return self._under_a_known_method(error, piece, begins)
            case HttpParserCallbackError(__context__=Refused() as refused):
                self.refuse(refused)
            case HttpParserCallbackError():
                raise error
            case _ if not self.is_over:
                self.refuse(_no_request(error))
        return b""

    def _under_a_known_method(self, error: Exception, piece: bytes, begins: bool) -> bytes:
        """What to read instead of `piece`, with which a request `begins` whose method the parser does not know."""
        start, self._start = self._start + piece, b""
        if begins and (line := UNKNOWN_METHOD.match(start)):
            self._parser, self._method = HttpRequestParser(self), line[1]
            return STAND_IN + start[line.end(1) :]
        if begins and BEGINNING_OF_SUCH.fullmatch(start) and len(start) < MAX_HEAD:
            self._start = start  # the parser goes on to fail, until the line is complete
        elif not self.is_over:
            self.refuse(_no_request(error))
        return b""

    # Callbacks of the parser, in the order of a request's parts.

    def on_message_begin(self) -> None:
        self.is_inside = True
        self._target = b""
        self._headers = {}

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        headers, name, value = self._headers, name.lower(), value.rstrip()
        headers[name] = value if name not in headers else headers[name] + b"," + value

    def on_headers_complete(self) -> None:
        self._parts += 1
        self._is_in_body = True
        parser = self._parser
        method, version = self._method or parser.get_method(), parser.get_http_version()
        request = Request(method, self._target, version, self._headers, parser.should_keep_alive(), self._read_at)
        self._method, self._headers = b"", {}  # trailers come as headers do, and are dropped
        self.requests.append(request)
        if _check(request):
            self._admit(request)
            if int(request.headers.get(b"content-length", b"0")) > MAX_BODY:
                raise _too_large()

    def on_body(self, part: bytes) -> None:
        request = self.requests[-1]
        if len(request.body) + len(part) > MAX_BODY:
            raise _too_large()
        request.body += part

    def on_message_complete(self) -> None:
        self._parts += 1
        self.is_inside = self._is_in_body = False
        self._start = b""
        self.requests[-1].is_complete = True
        self.is_over = not self.requests[-1].keeps_alive


def _check(request: Request) -> bool:
    """Refuse what llhttp lets pass; say whether a body is announced. Sets what depends on headers."""
    headers = request.headers
    if request.version not in ("1.1", "1.0"):
        raise Refused(f"HTTP/{request.version} is not spoken here: use HTTP/1.1")
    if request.method == b"CONNECT":
        raise Refused(
            "this is no proxy: CONNECT is not allowed", HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD, POST"}
        )
    host = headers.get(b"host")
    if not request.target.startswith(b"/"):
        host = _to_origin_form(request)
    if host is None:
        if request.version == "1.1":
            raise Refused("there is no Host: send the name that you have called, once")
    elif not _is_host(host):
        raise Refused("the Host is not valid: send one, a name or an address, with its port")
    coding = headers.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or request.version == "1.0"):
        raise Refused(
            "this Transfer-Encoding is not read here: send the body in chunks by HTTP/1.1, or its Content-Length"
        )
    expected = headers.get(b"expect")
    if expected is not None and request.version == "1.1":
        if expected.lower() != b"100-continue":
            raise Refused(
                "what is expected cannot be promised: leave out the header Expect", HTTPStatus.EXPECTATION_FAILED
            )
        request.expects_continue = True
    length = headers.get(b"content-length")
    return coding is not None or (length is not None and length.strip(b"0") != b"")


def _to_origin_form(request: Request) -> bytes | None:
    """Reduce an absolute target to its path and query, and return the Host: the target's counts (RFC 9112, 3.2.2)."""
    host = request.headers.get(b"host")
    absolute = ABSOLUTE.fullmatch(request.target)
    if absolute is None:
        if request.target != b"*" or request.method != b"OPTIONS":
            raise Refused("the target of the request is neither a path nor a URL: send a path that starts with /")
        return host
    if host is not None and not _is_host(host):
        raise Refused("the Host is not valid: send one, a name or an address, with its port")
    host, path = absolute.groups()
    if not host:
        raise Refused("the target of the request is a URL without a host")
    request.target = path if path.startswith(b"/") else b"/" + path
    request.headers[b"host"] = host
    return host


def _without_offer(request: Request) -> bytes:
    """The head of a request again, without its header Upgrade."""
    lines = [name + b": " + value for name, value in request.headers.items() if name != b"upgrade"]
    start_line = b"%s %s HTTP/%s" % (request.method, request.target, request.version.encode())
    return b"\r\n".join([start_line, *lines, b"", b""])


@functools.lru_cache(256)
def _is_host(value: bytes) -> bool:
    return HOST.fullmatch(value) is not None


def _no_request(error: Exception) -> Refused:
    return Refused(f"this is no HTTP request: {str(error).lower()}")


def _head_too_large() -> Refused:
    return Refused(
        f"the head of the request is larger than {MAX_HEAD} bytes: send less",
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    )


def _too_large() -> Refused:
    return Refused(f"the body is larger than {MAX_BODY} bytes: send less", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
