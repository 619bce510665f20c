"""Clients of a message service whose parts fail, what they saw, and whether the service kept its promises."""
