"""Send what Twilio or Slack would send, signed as they sign it, to practise without an account."""

import requests

from client import transport
from client.errors import ServiceUnavailable


def send(request: requests.PreparedRequest) -> requests.Response:
    """Send a signed request, once. Raises `ServiceUnavailable`, or `Refused` if the service does not take it."""
    with requests.Session() as session:
        try:
            response = session.send(request, timeout=transport.TIMEOUT)
        except requests.RequestException as error:
            raise ServiceUnavailable(f"no service answers at {request.url}: is it running?") from error
    transport.raise_for(response)
    return response
