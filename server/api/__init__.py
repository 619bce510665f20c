"""The HTTP API: the only part of the service that knows requests, responses and status codes."""
