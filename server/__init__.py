"""The message service: Tornado in front, MongoDB behind. Run it with `python -m server`."""

from importlib.metadata import version

__version__ = version("backend-lab")
