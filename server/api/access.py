"""Who may call: access keys, as `Authorization: Bearer KEY`."""

import hmac
from collections.abc import Mapping
from http import HTTPStatus

from server.api.problems import BadRequest

ANYONE = "anonymous"


class Access:
    """Knows the callers by their keys, `{name: key}`. Without keys everybody may call."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = {name: key.encode() for name, key in keys.items()}

    def caller(self, authorization: str | None) -> str:
        """The name of who sends this header. Raises `BadRequest` (401) for nobody we know."""
        if not self._keys:
            return ANYONE
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer":
            for name, key in self._keys.items():
                # Takes as long for a key that is nearly right as for any other.
                if hmac.compare_digest(key, given.strip().encode()):
                    return name
        raise BadRequest(
            "this service wants an access key: send the header Authorization: Bearer YOUR-KEY",
            status=HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": "Bearer"},
        )
