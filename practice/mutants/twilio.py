"""Mistakes of stage 5."""

from practice.mutants.mutant import Change, mutant

CHECKED = 'if not is_from_twilio(twilio_token, url, request.form, request.headers.get("X-Twilio-Signature")):'

MUTANTS = (
    mutant(
        "sms_signature_not_checked",
        "twilio.unsigned",
        "Whoever knows the address can send texts.",
        Change(
            "flask_sqlite/webhooks.py",
            f'        {CHECKED}\n            raise Forbidden(f"this is not signed by Twilio for {{url}}")\n',
            "",
        ),
    ),
    mutant(
        "sms_signature_checked_only_if_there",
        "twilio.unsigned",
        "A text without a signature is let through.",
        Change("node/server.mjs", "if (!isFromTwilio(", 'if (request.headers["x-twilio-signature"] && !isFromTwilio('),
    ),
    mutant(
        "unsigned_sms_is_500",
        "twilio.unsigned",
        "The library is asked about a signature that is not there, and raises.",
        Change(
            "flask_sqlite/signatures.py",
            "return bool(auth_token and signature) and bool(",
            "return bool(auth_token) and bool(",
        ),
    ),
    mutant(
        "sms_any_signature_accepted",
        "twilio.other_text",
        "A signature is compared by its length: that of another text or with another token will do.",
        Change(
            "node/webhooks.mjs",
            "return left.length === right.length && timingSafeEqual(left, right);",
            "return left.length === right.length;",
        ),
    ),
    mutant(
        "sms_stored_before_it_is_checked",
        "twilio.unsigned",
        "The text is stored first; then the signature is found to be wrong, and the answer is 403.",
        Change(
            "flask_sqlite/webhooks.py",
            "        " + CHECKED,
            '        service.add(request.form["Body"], sms_sid=request.form.get("MessageSid"))\n        ' + CHECKED,
        ),
    ),
    mutant(
        "sms_address_as_the_server_sees_it",
        "twilio.signed",
        "The signature is checked for http://127.0.0.1, and Twilio has signed the public https address.",
        Change(
            "flask_sqlite/webhooks.py", 'url = public_url + request.full_path.removesuffix("?")', "url = request.url"
        ),
    ),
    mutant(
        "sms_compared_without_the_port",
        "twilio.signed",
        "The port is cut off the public address before the signature is computed.",
        Change(
            "node/server.mjs",
            'PUBLIC_BASE_URL.replace(/\\/$/, "") + request.url',
            'PUBLIC_BASE_URL.replace(/(:\\d+)?\\/?$/, "") + request.url',
        ),
    ),
    mutant(
        "sms_blank_fields_dropped",
        "twilio.blank_fields",
        "Blank fields are dropped when the form is read, and Twilio has signed them.",
        Change(
            "stdlib/app.py",
            'parse_qsl(body.decode(errors="replace"), keep_blank_values=True)',
            'parse_qsl(body.decode(errors="replace"))',
        ),
    ),
    mutant(
        "sms_signature_over_the_body",
        "twilio.signed",
        "The signature is computed over the body as it was encoded, not over the fields.",
        Change(
            "stdlib/app.py",
            'signed = url + "".join(name + value for name, value in sorted(set(form)))',
            'signed = url + "&".join(f"{name}={value}" for name, value in form)',
        ),
    ),
    mutant(
        "sms_decoded_twice",
        "twilio.characters",
        "The form is decoded twice: a + in a number or a text becomes a space.",
        Change(
            "node/server.mjs",
            "new URLSearchParams((await bytes(request)).toString())",
            "new URLSearchParams(decodeURIComponent((await bytes(request)).toString()))",
        ),
    ),
    mutant(
        "sms_read_as_latin_1",
        "twilio.characters",
        "Escapes in the form are read as Latin-1, each byte a character.",
        Change(
            "stdlib/app.py",
            'parse_qsl(body.decode(errors="replace"), keep_blank_values=True)',
            'parse_qsl(body.decode(errors="replace"), keep_blank_values=True, encoding="latin-1")',
        ),
    ),
    mutant(
        "sms_plus_stored_as_space",
        "twilio.characters",
        "The text is unescaped once more before it is stored.",
        Change(
            "flask_sqlite/webhooks.py",
            'text = request.form.get("Body", "")',
            'text = request.form.get("Body", "").replace("+", " ")',
        ),
    ),
    mutant(
        "sms_stored_with_its_sender",
        "twilio.signed",
        "The sender's number is put before the text.",
        Change(
            "node/server.mjs",
            'const text = form.get("Body") ?? "";',
            'const text = `${form.get("From")}: ${form.get("Body")}`;',
        ),
    ),
    mutant(
        "sms_not_stored",
        "twilio.signed",
        "A text is acknowledged, and no message.",
        Change("stdlib/app.py", 'self.service.add(fields["Body"], sid=fields.get("MessageSid"))', "pass"),
    ),
    mutant(
        "sms_picture_without_words_is_500",
        "twilio.empty",
        "A text without words is stored, and the database refuses it: 500.",
        Change("flask_sqlite/webhooks.py", "        if text.strip():\n", "        if len(text.split()[0]) > 0:\n"),
    ),
    mutant(
        "sms_sent_twice_is_stored_twice",
        "twilio.once",
        "The MessageSid is not looked at: what Twilio sends again is another message.",
        Change(
            "stdlib/app.py",
            'self.service.add(fields["Body"], sid=fields.get("MessageSid"))',
            'self.service.add(fields["Body"])',
        ),
    ),
    mutant(
        "sms_answered_with_text",
        "twilio.answer",
        "The answer is a word in text/plain, which Twilio sends back to the phone.",
        Change(
            "flask_sqlite/webhooks.py",
            'Response(TWIML, content_type="text/xml")',
            'Response("stored", content_type="text/plain")',
        ),
    ),
)
