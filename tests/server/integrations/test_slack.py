"""The Slack integration: commands, mentions, signatures and deadlines. Requests are signed by Slack's library."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from slack_sdk.signature import Clock, SignatureVerifier

from client import slack
from client.slack import Channel
from harness import mongod
from harness.servers import Server
from loadtests import service
from migrations.runner import Database
from server.integrations.slack.slack import Slack
from tests.conftest import StartServer
from tests.processes import mongod_of, stopped
from tests.server.answers import assert_problem
from tests.server.integrations.conftest import ON, SECRET, Stored
from tests.strange_servers import answering, http
from tests.waiting import eventually

FORM = "application/x-www-form-urlencoded"
IDS = iter(range(10**9))
# Slack's deadline for a response.
ACKNOWLEDGED_WITHIN = 3.0


def send(
    server: Server, path: str, body: bytes, kind: str, at: float | None = None, **headers: str
) -> requests.Response:
    timestamp = str(int(time.time() if at is None else at))
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=timestamp, body=body) or ""
    signed = {"Content-Type": kind, "X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature}
    return requests.post(server.url + path, data=body, headers=signed | headers)


def event(
    server: Server, given: dict[str, Any], outer: dict[str, Any] | None = None, **headers: str
) -> requests.Response:
    document = {
        "type": "event_callback",
        "event_id": f"Ev{next(IDS)}",
        "authorizations": [{"user_id": "UBOT", "is_bot": True}],
        "event": {"type": "app_mention", "user": "UMIA", "text": "<@UBOT> lunch?", "ts": "1.0"} | given,
    }
    body = json.dumps(document | (outer or {})).encode()
    return send(server, slack.EVENTS, body, "application/json", **headers)


def command(server: Server, given: dict[str, str]) -> requests.Response:
    form = {"command": "/msg", "user_id": "UMIA", "user_name": "mia", "trigger_id": str(next(IDS))} | given
    return send(server, slack.COMMANDS, urlencode(form).encode(), FORM)


def run_command(server: Server, channel: Channel, text: str, **given: str) -> dict[str, Any]:
    """Deliver a command and return the Slack message with its result, checked against Slack's limits."""
    began = time.monotonic()
    answer = command(server, {"text": text, "response_url": channel.response_url} | given)
    assert time.monotonic() - began < ACKNOWLEDGED_WITHIN
    assert (answer.status_code, answer.text) == (200, "")
    shown = channel.answer()
    assert shown["response_type"] == "ephemeral"
    assert 0 < len(shown["text"]) <= 40_000
    assert len(shown.get("blocks", [])) <= 50
    for each in texts(shown):
        assert 0 < len(each) <= 3000
    return shown


def texts(shown: dict[str, Any]) -> list[str]:
    """All texts in the blocks of a Slack message."""
    blocks = shown.get("blocks", [])
    return [
        each["text"]
        for block in blocks
        for each in ([block["text"]] if block["type"] == "section" else block["elements"])
    ]


def newest(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{server.url}/messages", params={"limit": 1}).json()["messages"][0]
    return found


# The signature.


class At(Clock):
    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now


def test_the_example_in_slacks_documentation() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
        b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    secret = "8f742231b10e8888abcd99yyyzzz85a5"
    for now, good in ((0, True), (299, True), (-299, True), (301, False), (-301, False)):
        app = Slack(secret, None, "https://slack.com/api", to_this_machine=False, clock=At(1531420618 + now))
        assert app.is_authentic(body, "1531420618", signature) is good
        assert not app.is_authentic(body + b"&", "1531420618", signature)
        assert not app.is_authentic(body, "1531420619", signature)


@pytest.mark.parametrize("path", [slack.COMMANDS, slack.EVENTS])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"X-Slack-Signature": ""}, id="no signature"),
        pytest.param({"X-Slack-Signature": "v0=0"}, id="wrong signature"),
        pytest.param({"X-Slack-Signature": b"v0=\xe9"}, id="signature that is not ASCII"),
        pytest.param({"X-Slack-Request-Timestamp": ""}, id="no time"),
        pytest.param({"X-Slack-Request-Timestamp": "now"}, id="time in words"),
        pytest.param({"X-Slack-Request-Timestamp": "nan"}, id="nan"),
        pytest.param({"X-Slack-Request-Timestamp": "1.5"}, id="fraction"),
        pytest.param({"X-Slack-Request-Timestamp": "9" * 400}, id="huge time"),
        pytest.param({"X-Slack-Request-Timestamp": "9" * 5000}, id="time that Python refuses to read"),
        pytest.param({"X-Slack-Request-Timestamp": "-1"}, id="time before 1970"),
    ],
)
def test_without_a_good_signature_it_is_refused(
    lab: Server, stored: Stored, path: str, headers: dict[str, Any]
) -> None:
    assert_problem(send(lab, path, b"text=send+hi&user_id=U1", FORM, **headers), 401)
    assert stored() == 0


@pytest.mark.parametrize("seconds", [-310, 310])
def test_old_and_future_requests_are_refused(lab: Server, seconds: int) -> None:
    assert_problem(send(lab, slack.COMMANDS, b"text=help&user_id=U1", FORM, time.time() + seconds), 401)


def test_unsigned_is_refused_whatever_it_says(lab: Server) -> None:
    for data in ({"ssl_check": "1"}, {"text": "send hi"}, {}):
        assert_problem(requests.post(lab.url + slack.COMMANDS, data=data), 401)
    challenge = {"type": "url_verification", "challenge": "x"}
    assert_problem(requests.post(lab.url + slack.EVENTS, json=challenge), 401)


def test_a_body_that_is_not_utf8_is_refused(lab: Server) -> None:
    headers = {"Content-Type": FORM, "X-Slack-Request-Timestamp": str(int(time.time())), "X-Slack-Signature": "v0=0"}
    assert_problem(requests.post(lab.url + slack.COMMANDS, data=b"text=\xff", headers=headers), 401)


def test_signed_but_invalid_requests_are_refused(lab: Server) -> None:
    assert_problem(send(lab, slack.COMMANDS, b"text=%FF&user_id=U1", FORM), 400)
    assert_problem(send(lab, slack.COMMANDS, b"text=help", FORM), 400, "user_id")
    assert_problem(send(lab, slack.COMMANDS, b"{}", "application/json"), 415)
    assert_problem(send(lab, slack.EVENTS, b"{}", FORM), 415)
    for body in (b"", b"[]", b"nonsense", b"[" * 60_000, b'{"type": NaN}'):
        assert_problem(send(lab, slack.EVENTS, body, "application/json"), 400)
    assert_problem(send(lab, slack.EVENTS, b"{}", "application/json"), 400, "type")


def test_without_a_secret_it_is_404(shared_server: Server) -> None:
    for path in (slack.COMMANDS, slack.EVENTS):
        assert "LAB_SLACK_SIGNING_SECRET" in assert_problem(requests.post(shared_server.url + path), 404)["detail"]


# Commands.


def test_ssl_check_does_nothing(lab: Server) -> None:
    assert send(lab, slack.COMMANDS, b"ssl_check=1&token=x", FORM).status_code == 200


def test_send(lab: Server, slack_channel: Channel) -> None:
    shown = run_command(lab, slack_channel, "send lunch?")
    message = newest(lab)
    assert (message["text"], message["author"], message["source"]) == ("lunch?", "mia", "slack")
    assert "lunch?" in texts(shown)
    assert message["id"] in str(texts(shown))


def test_text_is_stored_as_it_was_typed_and_shown_escaped(lab: Server, slack_channel: Channel) -> None:
    shown = run_command(lab, slack_channel, "send a &amp; b &lt;!channel&gt; &amp;amp; *bold*\n&gt;two  spaces")
    assert newest(lab)["text"] == "a & b <!channel> &amp; *bold*\n>two  spaces"
    assert "a &amp; b &lt;!channel&gt; &amp;amp; *bold*\n&gt;two  spaces" in texts(shown)
    assert "<!channel>" not in json.dumps(shown)


@pytest.mark.parametrize("words", ["  SEND \t hi ", "send\u00a0hi", "Send hi", "\nsend\nhi\n"])
def test_spaces_and_capitals_do_not_matter(lab: Server, slack_channel: Channel, words: str) -> None:
    run_command(lab, slack_channel, words)
    assert newest(lab)["text"].strip() == "hi"


def test_reply(lab: Server, slack_channel: Channel) -> None:
    run_command(lab, slack_channel, "send lunch?")
    question = newest(lab)
    run_command(lab, slack_channel, f"reply  `{question['id']}`  the usual place")
    reply = newest(lab)
    assert (reply["text"], reply["reply_to"]) == ("the usual place", question["id"])
    shown = texts(run_command(lab, slack_channel, "list 2"))
    assert shown[-2].startswith("↳ mia")
    assert shown[-2].endswith("in reply to mia: lunch?")
    alone = texts(run_command(lab, slack_channel, "list 1"))
    assert alone[-2].endswith(f"in reply to `{question['id']}`")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "/msg list N"),
        ("help", "/msg list N"),
        ("shout&lt;!here&gt;", "shout&lt;!here&gt;"),
        ("shout", "There is no command “shout”"),
        ("send", "The text is missing"),
        ("send    ", "The text is missing"),
        ("send " + "x" * 4001, "4000"),
        ("reply", "is not the id"),
        ("reply 7 text", "is not the id"),
        ("reply " + "0" * 24, "The text is missing"),
        ("reply " + "0" * 24 + " text", "there is no message"),
        ("list many", "is not a number"),
        ("list 0", "is not a number"),
        ("list -1", "is not a number"),
        ("list " + "9" * 400, "is not a number"),
        ("list \N{ARABIC-INDIC DIGIT FIVE}", "is not a number"),
        ("since", "is not a time"),
        ("since noon", "is not a time"),
        ("since 25:00", "is not a time"),
        ("since 999999w", "is not a time"),
        ("since 0001-01-01T00:00:00+14:00", "is not a time"),
    ],
)
def test_invalid_commands_are_explained(
    lab: Server, slack_channel: Channel, stored: Stored, words: str, said: str
) -> None:
    shown = run_command(lab, slack_channel, words)["text"]
    assert said in shown
    assert "<" not in shown  # what was typed is escaped
    assert stored() == 0


def test_since(lab: Server, slack_channel: Channel) -> None:
    run_command(lab, slack_channel, "send recently")
    shown = run_command(lab, slack_channel, "since 1h")
    assert "recently" in texts(shown)
    assert "UTC" in texts(shown)[0]
    assert "no messages since" in run_command(lab, slack_channel, "since 2999-01-01")["text"]


def test_long_lists_stay_within_slack_s_limits(
    start_server: StartServer, migrated: Database, slack_channel: Channel
) -> None:
    server = start_server(**ON)
    for text in ("&" * 4000, "\N{GRINNING FACE}" * 4000, "\n" * 3999 + "x", "<" * 4000):
        for _ in range(15):
            assert requests.post(f"{server.url}/messages", json={"text": text, "author": "&" * 80}).status_code == 201
    for words in ("list 1000", "list 50", "list 1", "since 1h"):
        shown = run_command(server, slack_channel, words)
        assert len(shown["text"]) + sum(len(each) for each in texts(shown)) <= 13_000
        assert not any(each.rstrip("…").endswith(("&", "&a", "&am", "&amp", "&l", "&lt")) for each in texts(shown))
    assert "older" in texts(run_command(server, slack_channel, "list 1000"))[-1]


def test_a_list_of_nothing(start_server: StartServer, slack_channel: Channel) -> None:
    assert "no messages" in run_command(start_server(**ON), slack_channel, "list")["text"]


def test_numbers_are_masked_in_lists(lab: Server, shared_db: Database, slack_channel: Channel) -> None:
    run_command(lab, slack_channel, "send x")
    number = shared_db.counters.find_one_and_update({"_id": "messages"}, {"$inc": {"seq": 1}}, return_document=True)
    texted = {"text": "x", "author": "+15005550006", "source": "sms", "created_at": number["at"], "seq": number["seq"]}
    shared_db.messages.insert_one(texted)
    eventually(lambda: "+•••••••0006" in json.dumps(run_command(lab, slack_channel, "list 1"), ensure_ascii=False))


def test_a_replayed_command_is_stored_once(lab: Server, slack_channel: Channel, stored: Stored) -> None:
    for trigger in ({"trigger_id": "recorded"}, {"trigger_id": "recorded"}):
        run_command(lab, slack_channel, "send once", **trigger)
    request = slack.command(lab.url, SECRET, "/msg send twice", slack_channel.response_url)
    for _ in range(3):
        slack.deliver(request)
        slack_channel.answer()
    assert stored() == 2


def test_govslack_has_hosts_of_its_own() -> None:
    commercial = Slack(SECRET, None, "https://slack.com/api", to_this_machine=False)
    government = Slack(SECRET, None, "https://slack-gov.com/api", to_this_machine=False)
    for url, of in (("https://hooks.slack.com/x", commercial), ("https://hooks.slack-gov.com/x", government)):
        assert [each.is_response_url(url) for each in (commercial, government)] == [of is commercial, of is government]


def test_a_command_without_a_user_s_name(lab: Server, slack_channel: Channel) -> None:
    run_command(lab, slack_channel, "send by nobody in particular", user_name="", user_id="W012A3CDE")
    assert newest(lab)["author"] == "W012A3CDE"


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com.example.com/x",
        "https://hooks.slack.com@example.com/x",
        "https://hooks.slack.com:444/x",
        "http://hooks.slack.com/x",
        "https://example.com/https://hooks.slack.com/",
        "https://hooks.slack.com/a b",
        "https://hooks.slack.com\\@example.com/",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:1@example.com/",
        "http://localhost:1/",
        "file:///etc/passwd",
        "//hooks.slack.com/x",
        "x",
    ],
)
def test_results_are_sent_to_slack_only(lab: Server, stored: Stored, url: str) -> None:
    assert_problem(command(lab, {"text": "send hi", "response_url": url}), 400, "response_url")
    assert stored() == 0


def test_results_are_not_sent_to_this_machine_by_default(start_server: StartServer, slack_channel: Channel) -> None:
    server = start_server(slack_signing_secret=SECRET)
    said = command(server, {"text": "send hi", "response_url": slack_channel.response_url})
    assert_problem(said, 400, "response_url")


def test_a_rejected_result_is_logged(start_server: StartServer) -> None:
    server = start_server(**ON)
    with answering(http("expired", 404)) as url:
        assert command(server, {"text": "send hi", "response_url": f"{url}/x"}).status_code == 200
        eventually(lambda: "Slack rejected a result" in server.log.read_text())
    assert "Traceback" not in server.log.read_text()


def test_a_command_over_the_limit_is_told_to_wait(start_server: StartServer, slack_channel: Channel) -> None:
    server = start_server(**ON, write_limit="1/hour")
    run_command(server, slack_channel, "send first")
    assert "wait" in run_command(server, slack_channel, "send second")["text"]
    assert event(server, {}).status_code == 200  # its author cannot send it again


def test_each_user_of_slack_is_a_caller(start_server: StartServer, slack_channel: Channel) -> None:
    server = start_server(**ON, client_limit="1/hour", api_keys="slack:key-of-another-slack")
    key = {"Authorization": "Bearer key-of-another-slack"}
    assert requests.get(f"{server.url}/messages", headers=key).status_code == 200
    assert "first" in run_command(server, slack_channel, "send first")["text"]
    assert "wait" in run_command(server, slack_channel, "send second")["text"]
    assert "third" in run_command(server, slack_channel, "send third", user_id="UJOE")["text"]
    assert "fourth" in run_command(server, slack_channel, "send fourth", team_id="T2")["text"]


# The time zone of a user.


def test_times_are_those_of_the_user(start_server: StartServer, slack_channel: Channel) -> None:
    with answering(
        http('{"ok": true, "user": {"tz": "Asia/Kolkata"}}', headers="Content-Type: application/json\n")
    ) as api:
        server = start_server(**ON, slack_bot_token="xoxb-nobody", slack_api_url=api)
        run_command(server, slack_channel, "send now")
        assert "Asia/Kolkata" in texts(run_command(server, slack_channel, "since 1h"))[0]


@pytest.mark.parametrize(
    "said", ['{"ok": false, "error": "missing_scope"}', '{"ok": true, "user": {"tz": "Moon"}}', "?"]
)
def test_without_their_zone_times_are_utc(start_server: StartServer, slack_channel: Channel, said: str) -> None:
    with answering(http(said, headers="Content-Type: application/json\n")) as api:
        server = start_server(**ON, slack_bot_token="xoxb-nobody", slack_api_url=api)
        run_command(server, slack_channel, "send now")
        assert "UTC" in texts(run_command(server, slack_channel, "since 1h"))[0]
    assert "xoxb" not in server.log.read_text()


# Events.


def test_the_challenge_is_given_back(lab: Server) -> None:
    answer = send(
        lab, slack.EVENTS, b'{"type": "url_verification", "challenge": "3eZbrw1a", "token": "x"}', "application/json"
    )
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw1a"})


def test_a_mention_is_a_message(lab: Server) -> None:
    assert event(lab, {"text": "<@UBOT> lunch &amp; &lt;tea&gt;?"}).status_code == 200
    message = newest(lab)
    assert (message["text"], message["author"], message["source"]) == ("lunch & <tea>?", "UMIA", "slack")
    assert event(lab, {"text": "<@UJOE> ask <@UBOT|lab>"}).status_code == 200
    assert newest(lab)["text"] == "@UJOE ask @lab"


TYPED = {
    "<https://google.com|google.com>": "google.com",
    "<http://google.com/|google.com>": "google.com",
    "<https://example.com/a?b=1&amp;c=2>": "https://example.com/a?b=1&c=2",
    "<https://example.com|the page>": "the page (https://example.com)",
    "<mailto:mia@example.com|mia@example.com>": "mia@example.com",
    "<tel:+15005550006|+15005550006>": "+15005550006",
    "<#C024BE7LR|general>": "#general",
    "<#C024BE7LR>": "#C024BE7LR",
    "<#C024BE7LR|>": "#C024BE7LR",
    "<@U024BE7LH|mia>": "@mia",
    "<!here>": "@here",
    "<!channel|channel>": "@channel",
    "<!subteam^S012|@cooks>": "@cooks",
    "<!date^1392734382^{date}|February 18th, 2014>": "February 18th, 2014",
    "1 &lt; 2 &amp;&amp; 3 &gt; 2": "1 < 2 && 3 > 2",
    "&lt;https://google.com|not a link&gt;": "<https://google.com|not a link>",
    "*bold* _and_ `code` ~gone~": "*bold* _and_ `code` ~gone~",
}


@pytest.mark.parametrize("written", TYPED)
def test_what_was_typed_is_stored(lab: Server, slack_channel: Channel, written: str) -> None:
    assert event(lab, {"text": f"<@UBOT> it is {written}"}).status_code == 200
    assert newest(lab)["text"] == f"it is {TYPED[written]}"
    run_command(lab, slack_channel, f"send it is {written}")
    assert newest(lab)["text"] == f"it is {TYPED[written]}"


FILE = {"id": "F1", "name": "plan.pdf", "permalink": "https://team.slack.com/files/U1/F1/plan.pdf"}
TAKEN = {
    "also to the channel": ({"subtype": "thread_broadcast"}, "lunch?"),
    "with a file": ({"subtype": "file_share", "files": [FILE]}, f"lunch?\n{FILE['permalink']}"),
    "nothing but files": (
        {"text": "", "subtype": "file_share", "files": [FILE, FILE]},
        "\n".join([FILE["permalink"]] * 2),
    ),
    "a file without an address": ({"files": [{"id": "F2", "name": "plan.pdf"}]}, "lunch?\nplan.pdf"),
    "with a file, to a channel whose messages the app is told of": (
        {"type": "message", "channel_type": "channel", "subtype": "file_share", "files": [FILE]},
        f"lunch?\n{FILE['permalink']}",
    ),
    "an upload that names no bot": ({"bot_id": None, "upload": True, "files": [FILE]}, f"lunch?\n{FILE['permalink']}"),
    "by /me": ({"subtype": "me_message"}, "lunch?"),
    "mentioned by an edit": ({"edited": {"user": "UMIA", "ts": "2.0"}}, "lunch?"),
    "directly": ({"type": "message", "channel_type": "im", "channel": "D1", "text": "lunch?"}, "lunch?"),
    "directly, with a file": (
        {
            "type": "message",
            "channel_type": "im",
            "channel": "D2",
            "text": "",
            "subtype": "file_share",
            "files": [FILE],
        },
        FILE["permalink"],
    ),
    "half a character": ({"text": "<@UBOT> lunch\ud83d"}, "lunch\N{REPLACEMENT CHARACTER}"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_whatever_else_a_message_is_it_is_taken(lab: Server, stored: Stored, name: str) -> None:
    given, text = TAKEN[name]
    assert event(lab, given).status_code == 200
    assert stored() == 1
    assert newest(lab)["text"] == text


def test_events_without_authorizations_and_of_an_enterprise(lab: Server) -> None:
    for outer in (
        {"authorizations": None},
        {"authorizations": None, "enterprise_id": "E1", "is_enterprise_install": True},
    ):
        assert event(lab, {"user": "W012A3CDE", "text": "<@UBOT> from the grid"}, outer).status_code == 200
        assert (newest(lab)["text"], newest(lab)["author"]) == ("from the grid", "W012A3CDE")


def test_one_message_under_two_events_is_one(lab: Server, stored: Stored) -> None:
    same = {"channel": "C1", "ts": f"{next(IDS)}.000200", "team": "T1"}
    for outer in ({"team_id": "T1"}, {"team_id": "T2"}):  # a shared channel
        assert event(lab, same, outer).status_code == 200
    assert (
        event(lab, same | {"edited": {"ts": "9"}, "text": "<@UBOT> lunch, edited"}, {"team_id": "T1"}).status_code
        == 200
    )
    assert stored() == 1
    assert event(lab, same | {"channel": "C2"}, {"team_id": "T1"}).status_code == 200
    assert stored() == 2


def test_a_message_in_a_thread_is_a_reply_if_its_parent_is_known(lab: Server) -> None:
    parent = {"channel": "C1", "ts": f"{next(IDS)}.000100", "team": "T1"}
    event(lab, parent)
    known = newest(lab)["id"]
    event(lab, parent | {"ts": f"{next(IDS)}.000200", "thread_ts": parent["ts"], "text": "<@UBOT> tea"})
    assert newest(lab)["reply_to"] == known
    event(lab, parent | {"ts": f"{next(IDS)}.000300", "thread_ts": "1.000000", "text": "<@UBOT> coffee"})
    assert (newest(lab)["text"], newest(lab)["reply_to"]) == ("coffee", None)


def test_a_long_message_is_several_that_belong_together(lab: Server, stored: Stored) -> None:
    assert event(lab, {"text": "<@UBOT> " + "long " * 1700}).status_code == 200
    assert stored() == 3
    *others, first = requests.get(f"{lab.url}/messages", params={"limit": 3}).json()["messages"]
    assert {each["reply_to"] for each in others} == {first["id"]}


@pytest.mark.parametrize(
    ("given", "outer"),
    [
        pytest.param({"bot_id": "B1"}, {}, id="bot"),
        pytest.param({"user": "UBOT"}, {}, id="our own bot"),
        pytest.param({"bot_profile": {"id": "B1"}, "user": None}, {}, id="bot with a profile"),
        pytest.param({"subtype": "bot_message"}, {}, id="message of a bot"),
        pytest.param({"subtype": "message_changed"}, {}, id="change"),
        pytest.param({"subtype": "message_deleted"}, {}, id="deletion"),
        pytest.param({"type": "message", "channel_type": "im", "subtype": "message_changed"}, {}, id="edit, directly"),
        pytest.param({"type": "message", "channel_type": "im", "bot_id": "B1"}, {}, id="bot, directly"),
        pytest.param({"type": "message", "channel_type": "channel"}, {}, id="message in a channel"),
        pytest.param({"type": "message"}, {}, id="message without a mention"),
        pytest.param(
            {
                "type": "message",
                "channel_type": "channel",
                "subtype": "file_share",
                "files": [FILE],
                "text": "<@U1> see",
            },
            {},
            id="file for somebody else",
        ),
        pytest.param({"type": "reaction_added"}, {}, id="reaction"),
        pytest.param({"text": "<@UBOT> "}, {}, id="mention of nothing"),
        pytest.param({}, {"type": "app_rate_limited"}, id="another kind"),
        pytest.param({}, {"event": {}}, id="empty event"),
    ],
)
def test_other_events_are_ignored(lab: Server, stored: Stored, given: dict[str, Any], outer: dict[str, Any]) -> None:
    assert event(lab, given, outer).status_code == 200
    assert stored() == 0


@pytest.mark.parametrize(
    ("given", "outer", "field"),
    [
        ({"text": 7}, {}, "event"),
        ({"user": {"$gt": ""}}, {}, "event"),
        ({}, {"event_id": ""}, "event"),
        ({}, {"event_id": 7}, "event_id"),
    ],
)
def test_invalid_mentions_are_refused_without_retries(
    lab: Server, stored: Stored, given: dict[str, Any], outer: dict[str, Any], field: str
) -> None:
    answer = event(lab, given, outer)
    assert_problem(answer, 400, field)
    assert stored() == 0


def test_a_retry_is_stored_once(lab: Server, stored: Stored) -> None:
    for number in range(3):
        headers = {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": "http_timeout"}
        assert event(lab, {}, {"event_id": "EvRetried"}, **headers).status_code == 200
    assert event(lab, {"text": "another under the same id"}, {"event_id": "EvRetried"}).status_code == 200
    assert stored() == 1


def test_only_the_retry_arrives(lab: Server, stored: Stored) -> None:
    assert event(lab, {}, {"event_id": "EvLate"}, **{"X-Slack-Retry-Num": "1"}).status_code == 200
    assert stored() == 1


def test_retries_at_the_same_time_on_two_servers_are_stored_once(start_server: StartServer, migrated: Database) -> None:
    servers = [start_server(**ON), start_server(**ON)]
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda number: event(servers[number % 2], {}, {"event_id": "EvMany"}), range(32))
        assert {answer.status_code for answer in answers} == {200}
    assert migrated.messages.count_documents({"void": None}) == 1


# Whatever the database does.


@pytest.fixture
def isolated_server(data_dir: Path, tmp_path: Path) -> Iterator[Server]:
    """A service with a mongod of its own, which the test may pause."""
    with mongod.running(data_dir) as uri:
        service.migrate(uri, "backend_lab")
        with service.running(tmp_path / "log", mongodb_uri=uri, data_dir=data_dir, **ON) as server:
            requests.post(f"{server.url}/messages", json={"text": "opens the connection"})
            yield server


def stored_texts(server: Server) -> list[str]:
    return [each["text"] for each in requests.get(f"{server.url}/messages").json()["messages"]]


def test_a_stall_of_ten_seconds(isolated_server: Server, data_dir: Path, slack_channel: Channel) -> None:
    given = {"text": "send slowly", "response_url": slack_channel.response_url}
    with ThreadPoolExecutor() as pool:
        with stopped(mongod_of(data_dir)):
            stalled = time.monotonic()
            commanded = pool.submit(command, isolated_server, given)
            mentioned = pool.submit(event, isolated_server, {"text": "<@UBOT> mentioned"}, {"event_id": "EvStall"})
            for answer in (commanded, mentioned):
                assert answer.result().status_code == 200
                assert answer.result().elapsed.total_seconds() < ACKNOWLEDGED_WITHIN
            assert slack_channel.answers.empty()
            eventually(lambda: time.monotonic() - stalled > 10)
        assert "slowly" in texts(slack_channel.answer(30))
    eventually(lambda: sorted(stored_texts(isolated_server)) == ["mentioned", "opens the connection", "slowly"])
    assert event(isolated_server, {"text": "<@UBOT> mentioned"}, {"event_id": "EvStall"}).status_code == 200
    assert len(stored_texts(isolated_server)) == 3


def test_an_acknowledged_command_survives_a_normal_stop(
    isolated_server: Server, data_dir: Path, slack_channel: Channel, tmp_path: Path
) -> None:
    with stopped(mongod_of(data_dir)):
        given = {"text": "send before the stop", "response_url": slack_channel.response_url}
        assert command(isolated_server, given).status_code == 200
        isolated_server.process.terminate()
    assert "before the stop" in texts(slack_channel.answer())
    assert isolated_server.process.wait(10) == 0


def test_a_service_that_stops_without_its_database_reports_the_failure(
    isolated_server: Server, data_dir: Path, slack_channel: Channel
) -> None:
    with stopped(mongod_of(data_dir)):
        given = {"text": "send in vain", "response_url": slack_channel.response_url}
        assert command(isolated_server, given).status_code == 200
        isolated_server.process.terminate()
        assert "may not be stored" in slack_channel.answer()["text"]
        assert isolated_server.process.wait(10) == 0


def test_an_event_that_could_not_be_stored_is_refused_and_its_retry_is_stored(data_dir: Path, tmp_path: Path) -> None:
    """One that takes longer than Slack waits is acknowledged, and stored later: on a busy machine some may."""
    sent: list[str] = []

    def refused() -> bool:
        sent.append(f"EvAgain{len(sent)}")
        answer = event(server, {"text": f"<@UBOT> {sent[-1]}"}, {"event_id": sent[-1]})
        return answer.status_code != 200 and bool(assert_problem(answer, 503))

    with mongod.running(data_dir) as uri:
        service.migrate(uri, "backend_lab")
        with service.running(tmp_path / "log", mongodb_uri=f"{uri}&timeoutMS=500", data_dir=data_dir, **ON) as server:
            requests.post(f"{server.url}/messages", json={"text": "opens the connection"})
            with stopped(mongod_of(data_dir)):
                eventually(refused)
            again = {"text": f"<@UBOT> {sent[-1]}"}
            eventually(lambda: event(server, again, {"event_id": sent[-1]}).status_code == 200)
            eventually(lambda: sorted(stored_texts(server)) == [*sorted(sent), "opens the connection"])
