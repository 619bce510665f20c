"""The notebooks, which exercise the service, and the command that runs them, `python -m notebooks`."""
