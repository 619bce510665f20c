"""The client of the message service: a Python API, and the command `python -m client`."""

from client.errors import ClientError, NotFound, NotTheService, Refused, ServiceUnavailable, TooMany
from client.messages import Message, MessageClient, Thread

__all__ = [
    "ClientError",
    "Message",
    "MessageClient",
    "NotFound",
    "NotTheService",
    "Refused",
    "ServiceUnavailable",
    "Thread",
    "TooMany",
]
