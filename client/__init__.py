"""A client for the message service, for programs and for the command line (`python -m client`)."""

from client.errors import ClientError, NotFound, Refused, ServiceUnavailable, TooMany
from client.messages import Message, MessageClient, Thread

__all__ = ["ClientError", "Message", "MessageClient", "NotFound", "Refused", "ServiceUnavailable", "Thread", "TooMany"]
