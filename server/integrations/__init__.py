"""Adapters for Twilio and Slack: translate a webhook request, call the service once, translate the result."""
