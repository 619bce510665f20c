"""Send a signed webhook request, as Twilio or Slack would."""

import requests

from client import transport
from client.errors import ServiceUnavailable


def send(request: requests.PreparedRequest) -> requests.Response:
    """Send a signed request once and return the response. Raises `ServiceUnavailable` and `Refused`."""
    with requests.Session() as session:
        try:
            response = session.send(request, timeout=transport.TIMEOUT)
        except requests.RequestException as error:
            raise ServiceUnavailable(f"no service answers at {request.url}: is it running?") from error
    transport.raise_for(response)
    return response
