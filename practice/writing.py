"""Writers that go on until the server is killed under them, and what they were told had been stored."""

import itertools
import secrets
import threading

from practice.expectations import message
from practice.server import Broken, Server

WRITERS = 8
ACKNOWLEDGED = 60
SECONDS = 10.0


def write_until_killed(server: Server, writers: int = WRITERS, acknowledged: int = ACKNOWLEDGED) -> list[str]:
    """Write from all sides and kill the server (kill -9) as it acknowledges; the texts that were acknowledged.

    A message counts only if its answer came whole: an answer that was cut by the kill is not an acknowledgement. Raises
    `Broken` if a message is refused while the server lives.
    """
    kept: list[str] = []
    enough, killed = threading.Event(), threading.Event()
    refused: list[Broken] = []
    run = secrets.token_hex(3)

    def write(writer: int) -> None:
        for number in itertools.count():
            text = f"{run}: message {number} of writer {writer}"
            response = server.post("/messages", {"text": text})
            try:
                response.expect(message(text))
            except Broken as broken:
                if not killed.is_set():
                    refused.append(broken)
                    enough.set()
                return
            kept.append(text)
            if len(kept) >= acknowledged:
                enough.set()

    threads = [threading.Thread(target=write, args=[writer], daemon=True) for writer in range(writers)]
    for thread in threads:
        thread.start()
    enough.wait(SECONDS)
    killed.set()
    server.kill()
    for thread in threads:
        thread.join()
    if refused:
        raise refused[0]
    return kept
