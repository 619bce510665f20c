"""Messages as a person reads them in a terminal. `click.echo` drops the colours when the output is piped."""

import click

from client.messages import Message


def line(message: Message) -> str:
    """A message on one line, with the time in the reader's own time zone."""
    time = message.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    # Control characters in a text would be obeyed by the terminal.
    text = "".join(each if each.isprintable() else repr(each)[1:-1] for each in message.text)
    return f"{click.style(time, dim=True)}  {click.style(message.author, bold=True)}  {text}"
