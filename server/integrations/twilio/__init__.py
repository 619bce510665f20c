"""Texts, which Twilio receives and passes on."""
