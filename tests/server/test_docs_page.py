"""`/docs`: the API as a page, from this service alone."""

import re

import pytest
import requests

from harness.servers import Server
from tests.conftest import StartServer
from tests.server.answers import assert_problem

FILES = ["/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"]


def loaded(page: str) -> set[str]:
    """The addresses that a page loads."""
    return set(re.findall(r'<(?:script src|link rel="stylesheet" href)="([^"]+)"', page))


def test_the_page_loads_what_this_service_serves(shared_server: Server) -> None:
    page = requests.get(f"{shared_server.url}/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert {f"/{address}" for address in loaded(page.text)} == set(FILES) - {"/docs"}


def test_nothing_may_come_from_another_host(shared_server: Server) -> None:
    policy = requests.get(f"{shared_server.url}/docs").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert set(re.findall(r"(?:script|connect)-src ([^;]+)", policy)) == {"'self'"}
    assert "http" not in policy


@pytest.mark.parametrize("path", FILES)
def test_a_file_that_the_caller_has_is_not_sent_again(shared_server: Server, path: str) -> None:
    first = requests.get(shared_server.url + path)
    again = requests.get(shared_server.url + path, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    assert (len(first.content) > 100, again.content) == (True, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "no-cache" in first.headers["Cache-Control"]


def test_every_file_has_a_tag_of_its_own(shared_server: Server) -> None:
    assert len({requests.head(shared_server.url + path).headers["ETag"] for path in FILES}) == len(FILES)


@pytest.mark.parametrize("path", FILES)
def test_it_can_only_be_read(shared_server: Server, path: str) -> None:
    assert_problem(requests.post(shared_server.url + path), 405)


def test_no_other_file_of_the_package_is_served(shared_server: Server) -> None:
    for path in ("/docs/", "/docs/LICENSE", "/docs/../docs.py", "/docs/swagger-ui.js"):
        assert_problem(requests.get(shared_server.url + path), 404)


def test_it_needs_no_key_and_offers_to_enter_one(start_server: StartServer) -> None:
    server = start_server(api_keys="mia:a-key-of-mia")
    assert [requests.get(server.url + path).status_code for path in FILES] == [200] * len(FILES)
    description = requests.get(f"{server.url}/openapi.json").json()
    assert description["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}


def test_it_is_linked_from_the_front_page_and_not_described_itself(shared_server: Server) -> None:
    assert requests.get(shared_server.url).json()["links"]["docs"] == "/docs"
    assert [path for path in requests.get(f"{shared_server.url}/openapi.json").json()["paths"] if "docs" in path] == []


def test_the_example_that_it_fills_in_is_accepted(shared_server: Server) -> None:
    description = requests.get(f"{shared_server.url}/openapi.json").json()
    example = description["paths"]["/messages"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert requests.post(f"{shared_server.url}/messages", json=example).status_code == 201
