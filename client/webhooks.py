"""Send a signed webhook request, as Twilio or Slack would."""

import requests

from client import transport
from client.addresses import checked, is_of_this_machine, shown
from client.errors import ServiceUnavailable


def send(request: requests.PreparedRequest) -> requests.Response:
    """Send a signed request once and return the response. Raises `ServiceUnavailable` and `Refused`."""
    url = checked(request.url or "")
    proxies = transport.DIRECTLY if is_of_this_machine(url) else requests.utils.get_environ_proxies(url)
    with requests.Session() as session:
        try:
            response = session.send(request, timeout=transport.TIMEOUT, proxies=proxies, allow_redirects=False)
        except requests.RequestException as error:
            raise ServiceUnavailable(f"no service answers at {shown(url)}: is it running?") from error
    transport.raise_for(response)
    return response
