"""The Twilio integration: which texts are stored, once, and which are refused. Signed by Twilio's library."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from twilio.request_validator import HMAC_SHA256, SIGNATURE_SETTINGS_HEADER, RequestValidator

from harness import mongod
from harness.servers import Server
from loadtests import service
from migrations.runner import Database
from server.api import parsing
from server.integrations.twilio.handlers import Form, is_authentic
from server.integrations.twilio.texts import KEYWORDS
from tests.conftest import StartServer
from tests.processes import mongod_of, stopped
from tests.server.answers import assert_problem
from tests.server.integrations.conftest import ON, PUBLIC, TOKEN, Stored
from tests.waiting import eventually

PATH = "/integrations/twilio/sms"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FROM = "+15005550006"
EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response />'


class Fields(dict[str, list[str]]):
    def getlist(self, name: str) -> list[str]:
        return self[name]


def sid() -> str:
    return f"SM{next(NUMBERS):032x}"


NUMBERS = iter(range(10**9))


def fields(**given: str) -> dict[str, str]:
    return {"MessageSid": sid(), "From": FROM, "To": "+15005550000", "Body": "hello", "NumMedia": "0"} | given


def post(
    server: Server,
    given: dict[str, Any],
    *,
    query: str = "",
    signed_url: str | None = None,
    token: str = TOKEN,
    headers: dict[str, str] | None = None,
) -> requests.Response:
    """Post a form as Twilio does. Values may be lists, for repeated fields."""
    as_lists = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
    url = (PUBLIC + PATH + query) if signed_url is None else signed_url
    signature = RequestValidator(token).compute_signature(url, Fields(as_lists))
    return requests.post(
        server.url + PATH + query,
        data=urlencode(given, doseq=True).encode(),
        headers=FORM | {"X-Twilio-Signature": signature} | (headers or {}),
    )


def newest(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{server.url}/messages", params={"limit": 1}).json()["messages"][0]
    return found


def stored_texts(server: Server) -> list[str]:
    return [each["text"] for each in requests.get(f"{server.url}/messages").json()["messages"]]


def assert_taken(answer: requests.Response) -> None:
    assert (answer.status_code, answer.text) == (200, EMPTY_TWIML)
    assert answer.headers["Content-Type"] == "text/xml"


# The signature.


def test_the_example_in_twilios_documentation() -> None:
    url = "https://example.com/myapp.php?foo=1&bar=2"
    form = Form(
        CallSid=["CA1234567890ABCDE"],
        Caller=["+14158675310"],
        Digits=["1234"],
        From=["+14158675310"],
        To=["+18005551212"],
    )
    assert is_authentic("12345", url, form, "L/OH5YylLD5NRKLltdqwSvS0BnU=")
    assert not is_authentic("12345", url, form, "L/OH5YylLD5NRKLltdqwSvS0BnV=")
    assert not is_authentic("12346", url, form, "L/OH5YylLD5NRKLltdqwSvS0BnU=")


def test_the_example_in_the_tests_of_twilios_library() -> None:
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    body = b"CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&Caller=%2B14158675309"
    assert is_authentic("12345", url, Form(parsing.form(body)), "RSOYDt4T1cUTdK1PDd93/VVr8B8=")


@pytest.mark.parametrize("signature", [None, "", "x", "\N{LATIN SMALL LETTER E WITH ACUTE}" * 28])
def test_nothing_is_authentic_without_a_signature_or_a_token(signature: str | None) -> None:
    assert not is_authentic(TOKEN, PUBLIC, Form(), signature)
    assert not is_authentic("", PUBLIC, Form(), RequestValidator("").compute_signature(PUBLIC, {}))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"Body": "", "Blank": "", "MediaUrl0": "https://api.twilio.com/m"}, id="blank fields"),
        pytest.param({"Körper": "grün & <b>100 %</b> + mehr"}, id="characters that are escaped"),
        pytest.param({"ChannelMetadata": '{"new": "tomorrow"}', "$gt": "1"}, id="fields of tomorrow"),
        pytest.param({"Repeated": ["b", "a", "b"]}, id="a field that is repeated"),
        pytest.param({"Body": "  spaces around  \r\n"}, id="spaces at the ends"),
        pytest.param({"Body": "a\0b\x07c"}, id="control characters"),
    ],
)
def test_the_signature_covers_the_exact_form(lab: Server, given: dict[str, Any]) -> None:
    assert_taken(post(lab, fields() | given))


@pytest.mark.parametrize("query", ["?a=1&b=2", "?name=J%C3%BCrgen%20%2F+x", "?a", "?x=%2F&y=%25", "?u=http://x:1/"])
def test_the_signature_covers_the_query(lab: Server, query: str) -> None:
    assert_taken(post(lab, fields(), query=query))
    assert_problem(post(lab, fields(), query=query, signed_url=PUBLIC + PATH), 403)


def test_the_port_may_be_missing_from_what_is_signed(lab: Server) -> None:
    assert_taken(post(lab, fields(), signed_url=PUBLIC.replace(":8443", "") + PATH))


def test_another_order_of_the_fields_is_the_same_form(lab: Server, stored: Stored) -> None:
    given = fields()
    assert_taken(post(lab, given))
    assert_taken(post(lab, dict(reversed(given.items()))))
    assert stored() == 1


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "x",
        "=" * 28,
        "\xe9" * 28,
        "A" * 10_000,
        RequestValidator("").compute_signature(PUBLIC + PATH, fields()),
    ],
)
def test_without_a_good_signature_it_is_forbidden(lab: Server, stored: Stored, signature: str | None) -> None:
    headers = FORM if signature is None else FORM | {"X-Twilio-Signature": signature.encode("latin-1")}
    assert_problem(requests.post(lab.url + PATH, data=fields(), headers=headers), 403)
    assert stored() == 0


@pytest.mark.parametrize(
    "changed", [{"Body": "forged"}, {"From": "+15005550007"}, {"MessageSid": "SM1"}, {"Added": ""}, {"Body": "hello "}]
)
def test_a_form_that_was_changed_is_forbidden(lab: Server, stored: Stored, changed: dict[str, str]) -> None:
    given = fields()
    signature = RequestValidator(TOKEN).compute_signature(PUBLIC + PATH, given)
    answer = requests.post(lab.url + PATH, data=given | changed, headers={"X-Twilio-Signature": signature})
    assert_problem(answer, 403)
    assert stored() == 0


@pytest.mark.parametrize(
    "url", [PATH, "https://lab.example.com" + PATH, PUBLIC + "/messages", PUBLIC.replace("https", "http") + PATH]
)
def test_a_signature_for_another_address_is_forbidden(lab: Server, url: str) -> None:
    assert_problem(post(lab, fields(), signed_url=url), 403)


@pytest.mark.parametrize(
    "body", [b"\xff", b"Body=%FF", b"Body=%ED%A0%BD", b'{"Body": "x"}', b"", b"&" * 900, b"a=1&" * 900]
)
def test_a_body_that_is_no_form_is_forbidden(lab: Server, body: bytes) -> None:
    signature = RequestValidator(TOKEN).compute_signature(PUBLIC + PATH, {"Body": "x"})
    assert_problem(requests.post(lab.url + PATH, data=body, headers=FORM | {"X-Twilio-Signature": signature}), 403)


def test_another_type_is_refused_signed_or_not(lab: Server) -> None:
    assert_problem(post(lab, fields(), headers={"Content-Type": "text/plain"}), 415)
    assert_problem(requests.post(lab.url + PATH, json={"Body": "x"}), 403)
    assert_problem(post(lab, fields(), headers={"Content-Encoding": "gzip"}), 415)


def test_other_methods_and_long_bodies_are_refused(lab: Server) -> None:
    assert requests.get(lab.url + PATH).headers["Allow"] == "POST"
    assert_problem(requests.get(lab.url + PATH), 405)
    assert_problem(post(lab, fields(Body="x" * 70_000)), 413)


# What a text becomes.


def test_a_text_is_a_message_like_any_other(lab: Server, shared_db: Database) -> None:
    requests.post(f"{lab.url}/messages", json={"text": "the same", "author": "mia"})
    assert_taken(post(lab, fields(Body="the same")))
    texted, posted = requests.get(f"{lab.url}/messages", params={"limit": 2}).json()["messages"]
    assert (texted["text"], texted["source"]) == ("the same", "sms")
    assert posted["source"] == "api"
    documents = list(shared_db.messages.find({"text": "the same"}, {"_id": 0, "seq": 0, "created_at": 0, "worker": 0}))
    assert documents[0] == {"text": "the same", "author": "mia", "source": "api"}
    kept = {name: value for name, value in documents[1].items() if name not in ("dedupe", "fingerprint")}
    assert kept == {"text": "the same", "author": FROM, "source": "sms"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\N{GRINNING FACE}\N{FAMILY}", id="emoji"),
        pytest.param("x" * 1600, id="1,600 characters"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("<Response><Message>hi</Message></Response> & <b>", id="markup"),
        pytest.param('{"$gt": ""}', id="operator"),
        pytest.param("  spaces  \r\n", id="spaces"),
        pytest.param("Stop it, please", id="stop among others"),
    ],
)
def test_the_text_is_stored_exactly_as_sent(lab: Server, text: str) -> None:
    assert_taken(post(lab, fields(Body=text)))
    assert newest(lab)["text"] == text


@pytest.mark.parametrize("body", ["", "look"])
def test_media_are_lines_of_the_text(lab: Server, body: str) -> None:
    urls = ["https://api.twilio.com/2010-04-01/Media/ME1", "https://api.twilio.com/2010-04-01/Media/ME2"]
    assert_taken(
        post(lab, fields(Body=body, NumMedia="2", MediaUrl0=urls[0], MediaUrl1=urls[1], MediaContentType0="image/png"))
    )
    assert newest(lab)["text"].splitlines() == [*filter(None, [body]), *urls]


def test_a_text_without_a_body(lab: Server, stored: Stored) -> None:
    without = {name: value for name, value in fields().items() if name != "Body"}
    assert_taken(post(lab, without | {"NumMedia": "1", "MediaUrl0": "https://api.twilio.com/m"}))
    assert stored() == 1


@pytest.mark.parametrize("body", ["", "  ", "\n"])
def test_a_blank_text_is_accepted_and_not_stored(lab: Server, stored: Stored, body: str) -> None:
    assert_taken(post(lab, fields(Body=body)))
    assert stored() == 0


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (FROM, "+•••••••0006"),
        ("whatsapp:+15005550006", "whatsapp:+•••••••0006"),
        ("12345", "••••5"),
        ("Amazon", "Amazon"),
    ],
)
def test_the_number_is_masked(lab: Server, number: str, shown: str) -> None:
    assert_taken(post(lab, fields(From=number)))
    message = newest(lab)
    assert message["author"] == shown
    assert requests.get(f"{lab.url}/messages/{message['id']}").json()["author"] == shown
    after = requests.get(f"{lab.url}/messages", params={"since": message["created_at"]}).json()["messages"]
    assert shown in {each["author"] for each in after}


def test_show_numbers(start_server: StartServer) -> None:
    for show, author in (("on", FROM), ("1", FROM), ("off", "+•••••••0006")):
        server = start_server(**ON, show_numbers=show)
        assert_taken(post(server, fields()))
        assert {each["author"] for each in requests.get(f"{server.url}/messages").json()["messages"]} == {author}


@pytest.mark.parametrize("word", [*sorted(KEYWORDS), "STOP", " Stop\n", "Help", "START"])
def test_keywords_that_twilio_answers_are_not_stored(lab: Server, stored: Stored, word: str) -> None:
    assert_taken(post(lab, fields(Body=word)))
    assert stored() == 0


# What is a keyword by SMS may be an answer elsewhere, which nobody else keeps.
ANSWERS = {
    "beside a picture": {"Body": "Yes", "NumMedia": "1", "MediaUrl0": "https://api.twilio.com/m"},
    "by WhatsApp": {"Body": "Yes", "From": "whatsapp:+15005550006", "To": "whatsapp:+15005550000"},
    "by RCS": {"Body": "info", "From": "rcs:+15005550006", "To": "rcs:lab_agent"},
    "by RCS, from a number": {"Body": "info", "To": "rcs:lab_agent"},
    "by Messenger": {"Body": "help", "From": "messenger:1234567890", "To": "messenger:9876543210"},
    "to a short code": {"Body": "STOP", "To": "12345"},
    "from a name": {"Body": "end", "From": "Amazon"},
}


@pytest.mark.parametrize("name", ANSWERS)
def test_such_a_word_is_stored_where_twilio_does_not_answer_it(lab: Server, stored: Stored, name: str) -> None:
    assert_taken(post(lab, fields(**ANSWERS[name])))
    assert stored() == 1
    assert newest(lab)["text"].splitlines()[0] == ANSWERS[name]["Body"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"Body": "", "Latitude": "37.78", "Longitude": "-122.39"}, "geo:37.78,-122.39"),
        (
            {"Body": "here", "Latitude": "1", "Longitude": "2", "Label": "Pier 39", "Address": "Embarcadero"},
            "here\nPier 39\nEmbarcadero\ngeo:1,2",
        ),
        ({"Body": "", "ButtonText": "Yes, please", "ButtonPayload": "yes"}, "Yes, please"),
        ({"Body": "Yes", "ButtonText": "Yes", "ButtonPayload": "yes"}, "Yes"),
        ({"Body": "", "MessageType": "order"}, "[order]"),
        (
            {
                "Body": "",
                "NumMedia": "1",
                "MediaUrl0": "https://api.twilio.com/card",
                "MediaContentType0": "text/vcard",
            },
            "https://api.twilio.com/card",
        ),
    ],
)
def test_what_comes_by_whatsapp_is_not_lost(lab: Server, given: dict[str, str], text: str) -> None:
    assert_taken(post(lab, fields(From="whatsapp:+15005550006", To="whatsapp:+15005550000", **given)))
    assert newest(lab)["text"] == text


@pytest.mark.parametrize("status", ["queued", "sent", "delivered", "undelivered", "failed", "read"])
def test_a_status_callback_is_no_message(lab: Server, stored: Stored, status: str) -> None:
    about = {"MessageSid": sid(), "MessageStatus": status, "SmsStatus": status, "To": FROM, "ErrorCode": "30008"}
    assert_taken(post(lab, about))
    assert_taken(post(lab, fields(MessageStatus=status, Body="what was sent")))
    assert stored() == 0


LONG = {
    "by WhatsApp": ({"Body": "x" * 4096}, 2),
    "with words": ({"Body": "word " * 1000}, 2),
    "very long": ({"Body": "y" * 12_001}, 4),
    "with ten pictures": (
        {"Body": "z" * 3000} | {f"MediaUrl{n}": "https://api.twilio.com/" + "m" * 150 + str(n) for n in range(10)},
        2,
    ),
    "families": ({"Body": "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}" * 900}, 2),
    "a long way between": ({"Body": "a" + " " * 9000 + "b"}, 2),
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_text_is_several_messages_that_belong_together(lab: Server, stored: Stored, name: str) -> None:
    given, count = LONG[name]
    sent = fields(**given)
    whole = "\n".join([given["Body"], *(value for field, value in given.items() if field != "Body")])
    for _ in range(2):  # a repeated one is stored once
        assert_taken(post(lab, sent))
    assert stored() == count
    first, *others = reversed(requests.get(f"{lab.url}/messages", params={"limit": count}).json()["messages"])
    assert {each["reply_to"] for each in others} == {first["id"]}
    together = "".join(each["text"] for each in (first, *others))
    assert together == whole or name == "a long way between"
    assert not any(each["text"].startswith("\N{ZERO WIDTH JOINER}") for each in others)


@pytest.mark.parametrize(
    ("sender", "author"),
    [
        (None, "anonymous"),
        ("", "anonymous"),
        (" ", "anonymous"),
        ("whatsapp:US.13491208655302741918", "whatsapp:US.••••••••••••••••1918"),
        ("Bank24h7", "Bank24h7"),
        ("+" + "1" * 100, "+" + "•" * 75 + "1111"),
    ],
)
def test_a_text_is_taken_whoever_it_is_from(lab: Server, sender: str | None, author: str) -> None:
    given = {name: value for name, value in fields().items() if name != "From"}
    assert_taken(post(lab, given if sender is None else given | {"From": sender}))
    assert newest(lab)["author"] == author


def test_texts_that_twilio_marks_as_keywords_are_not_stored(lab: Server, stored: Stored) -> None:
    assert_taken(post(lab, fields(Body="arrêt", OptOutType="STOP")))
    assert stored() == 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"MessageSid": ""}, "MessageSid"),
        ({"MessageSid": "x" * 65}, "MessageSid"),
        ({"MessageSid": "SM1"}, "MessageSid"),
        ({"MessageSid": ["SM" + "1" * 32, "SM" + "2" * 32]}, "MessageSid"),
        ({"Body": ["one", "two"]}, "Body"),
    ],
)
def test_forms_that_twilio_does_not_send_are_refused(
    lab: Server, stored: Stored, given: dict[str, Any], field: str
) -> None:
    assert_problem(post(lab, fields() | given), 400, field)
    assert stored() == 0


# Once.


@pytest.mark.parametrize("moved", ["longer", "shorter"])
def test_characters_moved_between_fields_make_no_second_text(lab: Server, stored: Stored, moved: str) -> None:
    given = {"Body": "hello", "From": FROM, "MessageSid": sid(), "NumMedia": "0"}
    assert_taken(post(lab, given))
    signature = RequestValidator(TOKEN).compute_signature(PUBLIC + PATH, given)
    if moved == "longer":
        given["MessageSid"] += "NumMedia" + given.pop("NumMedia")
    else:
        given["MessageSid"], rest = given["MessageSid"][:-1], given["MessageSid"][-1]
        given[f"{rest}NumMedia"] = given.pop("NumMedia")
    answer = requests.post(lab.url + PATH, data=given, headers={"X-Twilio-Signature": signature})
    assert answer.status_code in (400, 403)
    assert stored() == 1


def test_a_replay_is_stored_once(lab: Server, stored: Stored) -> None:
    given = fields()
    for _ in range(3):
        assert_taken(post(lab, given))
    assert_taken(post(lab, given | {"Body": "another text under the same id"}))
    assert stored() == 1


def test_many_at_once_on_two_servers_are_stored_once(start_server: StartServer, migrated: Database) -> None:
    servers = [start_server(**ON), start_server(**ON)]
    given = fields()
    with ThreadPoolExecutor(16) as pool:
        for answer in pool.map(lambda number: post(servers[number % 2], given), range(32)):
            assert_taken(answer)
    assert migrated.messages.count_documents({"void": None}) == 1


def test_message_sids_and_idempotency_keys_are_separate(lab: Server, stored: Stored) -> None:
    id = sid()
    for key in (id, f"sms:{id}"):
        requests.post(f"{lab.url}/messages", json={"text": "x"}, headers={"Idempotency-Key": key})
    assert_taken(post(lab, fields(MessageSid=id)))
    assert stored() == 3


def test_while_the_database_is_away_it_is_503_and_the_replay_is_stored_once(data_dir: Path, tmp_path: Path) -> None:
    with (
        mongod.running(data_dir) as uri,
        service.running(tmp_path / "log", mongodb_uri=f"{uri}&timeoutMS=1000", data_dir=data_dir, **ON) as server,
    ):
        service.migrate(uri, "backend_lab")
        assert_taken(post(server, fields(Body="opens the connection")))
        given = fields(Body="in the dark")
        with stopped(mongod_of(data_dir)):
            answer = post(server, given)
            assert_problem(answer, 503)
            assert answer.headers["Retry-After"]
        eventually(lambda: post(server, given).status_code == 200)
        # It is shown when the number that was taken for the first attempt has been given up.
        eventually(lambda: stored_texts(server) == ["in the dark", "opens the connection"])


def test_no_limit_applies_to_what_cannot_be_sent_again(start_server: StartServer) -> None:
    server = start_server(**ON, write_limit="1/hour", client_limit="1/hour", api_keys="twilio:a-key-of-twilio")
    key = {"Authorization": "Bearer a-key-of-twilio"}
    for _ in range(3):
        assert_taken(post(server, fields()))
    assert requests.post(f"{server.url}/messages", json={"text": "x"}, headers=key).status_code == 201
    assert_problem(requests.post(f"{server.url}/messages", json={"text": "x"}, headers=key), 429)
    assert_taken(post(server, fields()))


# Signed with a SharedKey.


def test_a_text_that_is_signed_with_a_shared_key(start_server: StartServer) -> None:
    server = start_server(**ON, twilio_shared_key="a-shared-key")
    given = fields()
    as_lists = Fields({name: [value] for name, value in given.items()})
    signature = RequestValidator("a-shared-key").compute_signature(PUBLIC + PATH, as_lists, HMAC_SHA256)
    settings = "key=webhooks_sharedkey_01,algorithm=HMAC_SHA256"
    headers = FORM | {"X-Twilio-Signature": signature, SIGNATURE_SETTINGS_HEADER: settings}
    assert_taken(requests.post(server.url + PATH, data=given, headers=headers))
    assert_taken(post(server, fields()))  # by the token too
    for wrong in (settings.replace("256", "1"), settings.replace("256", "512"), "algorithm="):
        refused = requests.post(server.url + PATH, data=given, headers=headers | {SIGNATURE_SETTINGS_HEADER: wrong})
        assert "LAB_TWILIO_SHARED_KEY" in assert_problem(refused, 403)["detail"]
    by_token = RequestValidator(TOKEN).compute_signature(PUBLIC + PATH, as_lists, HMAC_SHA256)
    assert_problem(
        requests.post(server.url + PATH, data=given, headers=headers | {"X-Twilio-Signature": by_token}), 403
    )


# Settings.


def test_without_a_token_it_is_404(shared_server: Server) -> None:
    for answer in (post(shared_server, fields()), requests.get(shared_server.url + PATH)):
        assert "LAB_TWILIO_AUTH_TOKEN" in assert_problem(answer, 404)["detail"]


def test_it_needs_no_access_key(start_server: StartServer) -> None:
    server = start_server(**ON, api_keys="mia:a-key-of-mia")
    assert_taken(post(server, fields()))
