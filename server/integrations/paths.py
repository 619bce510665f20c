"""Where Twilio and Slack call."""

SMS = "/integrations/twilio/sms"
COMMANDS = "/integrations/slack/commands"
EVENTS = "/integrations/slack/events"
