"""The paths of the webhooks that Twilio and Slack call."""

SMS = "/integrations/twilio/sms"
COMMANDS = "/integrations/slack/commands"
EVENTS = "/integrations/slack/events"
