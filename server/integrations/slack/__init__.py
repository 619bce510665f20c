"""Slack commands and mentions."""
