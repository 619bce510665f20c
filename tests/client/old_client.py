"""The client of the first version, unchanged: it knows no replies, sequence numbers or sources.

Interfaces evolve, callers do not: whoever wrote this years ago must not need to touch it.
"""

from dataclasses import dataclass

import requests


@dataclass(frozen=True)
class OldMessage:
    text: str
    author: str


class OldClient:
    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def send(self, text: str) -> str:
        response = requests.post(f"{self.base_url}/messages", json={"text": text}, timeout=10)
        assert response.status_code == 201
        return str(response.json()["id"])

    def recent(self, limit: int) -> list[OldMessage]:
        response = requests.get(f"{self.base_url}/messages?limit={limit}", timeout=10)
        assert response.status_code == 200
        return [OldMessage(each["text"], each["author"]) for each in response.json()["messages"]]
