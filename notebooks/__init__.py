"""The lab: notebooks that exercise the service, and the commands that run them (`python -m notebooks`)."""
