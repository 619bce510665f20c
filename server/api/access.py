"""Authentication by access keys: `Authorization: Bearer KEY`."""

import hmac
from collections.abc import Mapping
from http import HTTPStatus

from server.api.problems import BadRequest

ANYONE = "anonymous"


class Access:
    """Identifies callers by their access keys, `{name: key}`. Without any keys all callers are anonymous."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = {name: key.encode() for name, key in keys.items()}
        self.is_open = not keys

    def caller(self, authorization: str | None) -> str:
        """The name of the caller who sent this header. Raises `BadRequest` (401) for an unknown key."""
        if self.is_open:
            return ANYONE
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            for name, key in self._keys.items():
                # In constant time, so that timing does not reveal how many characters of a key are correct.
                if hmac.compare_digest(key, given.strip().encode()):
                    return name
        raise BadRequest(
            "this service requires an access key: send the header Authorization: Bearer YOUR-KEY",
            status=HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": "Bearer"},
        )
