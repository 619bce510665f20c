"""The Slack integration: the command `/msg`, and mentions of the app."""
