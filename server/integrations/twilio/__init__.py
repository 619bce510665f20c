"""The Twilio integration: text messages."""
