"""What is a request, and what is refused: bytes in whatever pieces, without a socket."""

from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.http1.reading import MAX_HEAD, Reader, Refused, Request
from tests.server.http1.inputs import ACCEPTED, GET, POST, REFUSED, head_of, with_header


def admit(request: Request) -> None:
    pass


def read(*pieces: bytes) -> Reader:
    reader = Reader(admit)
    for each in pieces:
        reader.feed(each, 1.0)
    return reader


def seen(reader: Reader) -> Any:
    """All that a reader has made of what it read."""
    requests = [
        (each.method, each.target, each.version, each.headers, each.body, each.keeps_alive, each.expects_continue)
        for each in reader.requests
        if each.is_complete
    ]
    return requests, reader.refused and (reader.refused.status, reader.refused.detail), reader.is_over, reader.is_inside


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_is_a_request(name: str) -> None:
    reader = read(ACCEPTED[name])
    assert reader.refused is None
    assert [each.is_complete for each in reader.requests] == [True]
    assert not reader.is_inside


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_none(name: str) -> None:
    status, request = REFUSED[name]
    reader = read(request)
    assert reader.refused is not None
    assert reader.refused.status == status
    assert not reader.requests
    assert seen(read(POST + GET + request))[0] == seen(read(POST + GET))[0]


@pytest.mark.parametrize("name", [*ACCEPTED, *REFUSED])
def test_it_makes_no_difference_in_which_pieces_it_comes(name: str) -> None:
    request = ACCEPTED[name] if name in ACCEPTED else REFUSED[name][1]
    whole = seen(read(request))
    for size in (1, 3, 100, MAX_HEAD - 1) if len(request) < 3000 else (97, MAX_HEAD - 1, MAX_HEAD + 1):
        assert seen(read(*(request[at : at + size] for at in range(0, len(request), size)))) == whole


@pytest.mark.parametrize("name", [name for name in ACCEPTED if "1.0" not in name and "close" not in name])
def test_what_follows_is_read_too(name: str) -> None:
    if name == "an offer beside the last request":
        return
    assert seen(read(ACCEPTED[name] + GET))[0] == seen(read(ACCEPTED[name]))[0] + seen(read(GET))[0]


@pytest.mark.parametrize("size", [1, 1000, MAX_HEAD - 1, MAX_HEAD, MAX_HEAD + 1, 2 * MAX_HEAD])
def test_a_head_may_be_so_long_and_no_longer(size: int) -> None:
    for length, refused in ((MAX_HEAD, False), (MAX_HEAD + 1, True)):
        head = head_of(length)
        reader = read(*(head[at : at + size] for at in range(0, length, size)))
        assert (reader.refused is not None) == refused


def test_what_a_request_holds() -> None:
    (request,) = read(with_header(b"X-A: one \r\nx-a: two\r\nIf-None-Match:", POST)).requests
    assert (request.method, request.target, request.version, request.body) == (b"POST", b"/one", "1.1", b"hello")
    assert request.header(b"x-a") == "one,two"
    assert request.header(b"if-none-match") == ""
    assert request.header(b"authorization") is None
    assert list(request.headers) == [b"x-a", b"if-none-match", b"host", b"content-length"]
    assert request.read_at == 1.0


def test_a_body_comes_without_its_framing() -> None:
    (request,) = read(ACCEPTED["chunks with extensions and trailers"]).requests
    assert request.body == b"hello"
    assert request.header(b"x") is None
    assert request.header(b"host") == "lab"


@pytest.mark.parametrize(
    ("name", "target", "host"),
    [
        ("a path for a URL", b"/one?two=3", "lab"),
        ("a URL without a path", b"/?a=b", "lab"),
        ("another Host in the URL", b"/one?two=3", "other:80"),
    ],
)
def test_of_a_url_the_path_is_asked_and_its_host_counts(name: str, target: bytes, host: str) -> None:
    (request,) = read(ACCEPTED[name]).requests
    assert request.target == target
    assert request.header(b"host") == host


@pytest.mark.parametrize(
    ("name", "keeps_alive"),
    [
        ("a GET", True),
        ("Connection: close", False),
        ("close among others", False),
        ("HTTP/1.0 without a Host", False),
        ("HTTP/1.0 that stays", True),
        ("an offer beside the last request", False),
    ],
)
def test_who_wants_the_connection_to_stay(name: str, keeps_alive: bool) -> None:
    reader = read(ACCEPTED[name] + GET)
    assert reader.requests[0].keeps_alive == keeps_alive
    assert len(reader.requests) == (2 if keeps_alive else 1)
    assert reader.refused is None


@pytest.mark.parametrize("name", ["an offer of HTTP/2", "an offer beside chunks"])
def test_whoever_offers_another_protocol_is_read_in_this_one(name: str) -> None:
    (request,) = read(ACCEPTED[name]).requests
    assert request.body == b"hello"
    assert request.header(b"upgrade") is None


def test_a_body_is_admitted_before_it_is_kept() -> None:
    asked: list[bytes] = []

    def nobody(request: Request) -> None:
        asked.append(request.target)
        raise Refused("no", HTTPStatus.UNAUTHORIZED)

    reader = Reader(nobody)
    reader.feed(GET + POST[:-2], 1.0)
    assert asked == [b"/one"]
    assert [each.method for each in reader.requests] == [b"GET"]
    assert reader.refused is not None
    assert reader.refused.status == HTTPStatus.UNAUTHORIZED
    assert reader.refused.request is not None
    assert reader.refused.request.body == b""


def test_a_method_of_its_own_is_for_the_application_to_refuse() -> None:
    assert [each.method for each in read(ACCEPTED["a method of its own"] + GET).requests] == [b"BREW", b"GET"]
    # Behind another request in the same bytes its beginning is not known: it is no request then.
    assert read(GET, ACCEPTED["a method of its own"]).refused is None
    assert read(GET + ACCEPTED["a method of its own"]).refused is not None


@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_are_too_strange(data: bytes, size: int) -> None:
    assert seen(read(data)) == seen(read(*(data[at : at + size] for at in range(0, len(data), size))))


SHORT = [each for name, each in ACCEPTED.items() if len(each) < 500 and "method" not in name]
PARTS = st.sampled_from([*SHORT, b"\r\n", b"X", b"\0", b"GET ", b" "])


@given(st.lists(PARTS, max_size=6), st.data())
def test_no_mixture_of_requests_is_either(parts: list[bytes], data: st.DataObject) -> None:
    together = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(together)), max_size=6)))
    pieces = [together[start:end] for start, end in zip([0, *cuts], [*cuts, len(together)], strict=True)]
    in_pieces, whole = read(*pieces), read(together)
    assert seen(in_pieces)[0] == seen(whole)[0]
    # Of a method of its own behind another request it depends on whether they come together: see above.
    if not (whole.refused and "invalid method" in whole.refused.detail):
        assert (in_pieces.refused is None) == (whole.refused is None)
