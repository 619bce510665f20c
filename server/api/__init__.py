"""HTTP: the only part of the service that knows requests, answers and status codes."""
