"""Mistakes of stage 8."""

from practice.mutants.mutant import Change, mutant

MUTANTS = (
    mutant(
        "no_limit",
        "writes.limited",
        "WRITE_LIMIT is not looked at.",
        Change("node/server.mjs", "new TokenBucket(Number(WRITE_LIMIT))", "new TokenBucket(1000)"),
    ),
    mutant(
        "limit_twice_as_high",
        "writes.limited",
        "The window is half a second long, so twice as many get through.",
        Change("stdlib/app.py", "if each > now - 1]", "if each > now - 0.5]"),
    ),
    mutant(
        "limit_half_as_high",
        "writes.admitted",
        "Each request takes two: it is counted by two layers.",
        Change("flask_sqlite/limit.py", "            self._tokens -= 1\n", "            self._tokens -= 2\n"),
    ),
    mutant(
        "limiter_counts_the_refused",
        "writes.admitted",
        "What is refused counts too, so in a storm nobody gets through.",
        Change(
            "stdlib/app.py",
            """\
            if len(self.admitted) >= self.write_limit:
                refuse(429, "too many writes: try again in a second", retry_after=1)
            self.admitted.append(now)
""",
            """\
            self.admitted.append(now)
            if len(self.admitted) > self.write_limit:
                refuse(429, "too many writes: try again in a second", retry_after=1)
""",
        ),
    ),
    mutant(
        "limiter_never_resets",
        "writes.calm",
        "The bucket is never filled again.",
        Change(
            "node/limit.mjs",
            "Math.min(this.#rate, this.#tokens + ((now - this.#filledAt) / 1000) * this.#rate)",
            "Math.min(this.#rate, this.#tokens)",
        ),
    ),
    mutant(
        "limiter_anew_for_each_request",
        "writes.limited",
        "The limiter is made for each request, and remembers nothing.",
        Change("flask_sqlite/service.py", "self._writes = TokenBucket(write_limit)", "self._write_limit = write_limit"),
        Change(
            "flask_sqlite/service.py",
            "self._writes.seconds_to_wait()",
            "TokenBucket(self._write_limit).seconds_to_wait()",
        ),
    ),
    mutant(
        "limiter_for_each_process",
        "writes.limited",
        "Each request is answered in a process of its own, which has a limiter of its own.",
        Change("flask_sqlite/app.py", "threaded=True)", "threaded=False, processes=16)"),
    ),
    mutant(
        "limiter_for_each_connection",
        "writes.limited",
        "Each connection may write as much as all together should.",
        Change(
            "node/server.mjs",
            "  admit();\n  const body = jsonObject(",
            "  admit((request.socket.writes ??= new TokenBucket(Number(WRITE_LIMIT))));\n  const body = jsonObject(",
        ),
        Change(
            "node/server.mjs",
            "function admit() {\n  const wait = writes.",
            "function admit(own = writes) {\n  const wait = own.",
        ),
    ),
    mutant(
        "refused_with_503",
        "writes.refused",
        "Who is refused is told that the server is broken.",
        Change("node/server.mjs", "new Refusal(429,", "new Refusal(503,"),
    ),
    mutant(
        "refused_with_200",
        "writes.limited",
        "A refusal looks like success, and nothing is stored.",
        Change("node/server.mjs", "new Refusal(429,", "new Refusal(200,"),
    ),
    mutant(
        "refused_by_hanging_up",
        "writes.refused",
        "Who is refused gets no answer: the connection is closed.",
        Change(
            "node/server.mjs",
            "if (error instanceof Refusal) return send(",
            "if (error.status === 429) return request.destroy();\n    if (error instanceof Refusal) return send(",
        ),
    ),
    mutant(
        "refused_and_stored",
        "writes.stored",
        "The limit is looked at after the message was stored.",
        Change(
            "flask_sqlite/messages.py",
            "        service.admit()\n        body = json_object(",
            "        body = json_object(",
        ),
        Change(
            "flask_sqlite/messages.py",
            "        assert message is not None",
            "        service.admit()\n        assert message is not None",
        ),
    ),
    mutant(
        "limiter_waits_and_does_not_refuse",
        "writes.limited",
        "Who comes too often is held until it is his turn, and nobody is refused.",
        Change(
            "flask_sqlite/service.py",
            """\
        if wait := self._writes.seconds_to_wait():
            raise TooManyRequests("too many writes: try again later", retry_after=int(wait) + 1)
""",
            """\
        while wait := self._writes.seconds_to_wait():
            time.sleep(wait)
""",
        ),
        Change(
            "flask_sqlite/service.py", "from datetime import datetime\n", "import time\nfrom datetime import datetime\n"
        ),
    ),
    mutant(
        "limiter_closes_for_10_s",
        "writes.admitted",
        "Each refusal closes the door for another 10 s.",
        Change(
            "node/limit.mjs",
            "    if (this.#tokens < 1) return (1 - this.#tokens) / this.#rate;",
            """\
    if (this.#tokens < 1) this.closedUntil = now + 10_000;
    if (now < this.closedUntil) return 10;""",
        ),
    ),
    mutant(
        "limiter_leaks_a_place_for_each_refusal",
        "writes.normal",
        "Each refusal takes one of 720 places and does not give it back: after the storm there is none left.",
        Change(
            "node/limit.mjs",
            "    if (this.#tokens < 1) return",
            """\
    if (this.#tokens < 1) this.places = (this.places ?? 720) - 1;
    if (this.places <= 0) return 1;
    if (this.#tokens < 1) return""",
        ),
    ),
    mutant(
        "batch_waits_for_silence",
        "writes.latency",
        "A batch is written when no write has come for 90 ms, which in a storm is never.",
        Change(
            "node/log.mjs",
            "      if (!this.#busy) this.#flush();",
            """\
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.#busy || this.#flush(), 90);""",
        ),
    ),
    mutant(
        "limit_divided_among_workers_that_are_not_there",
        "writes.calm",
        "The limit is divided among four workers, and one runs.",
        Change("node/server.mjs", "new TokenBucket(Number(WRITE_LIMIT))", "new TokenBucket(Number(WRITE_LIMIT) / 4)"),
    ),
    mutant(
        "refused_without_retry_after",
        "writes.retry_after",
        "A refusal does not say when to come again.",
        Change(
            "node/server.mjs",
            '"too many writes: try again later", { "Retry-After": Math.ceil(wait) }',
            '"too many writes: try again later"',
        ),
    ),
    mutant(
        "limiter_counts_reads",
        "writes.reads",
        "Reads are refused with the writes.",
        Change(
            "flask_sqlite/messages.py",
            "        limit = checked_limit(",
            "        service.admit()\n        limit = checked_limit(",
        ),
    ),
)
