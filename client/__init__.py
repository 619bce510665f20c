"""A client for the message service, for programs and for the command line (`python -m client`)."""

from client.errors import ClientError, Refused, ServiceUnavailable, TooMany
from client.messages import Message, MessageClient

__all__ = ["ClientError", "Message", "MessageClient", "Refused", "ServiceUnavailable", "TooMany"]
