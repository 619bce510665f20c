"""Migrations of the database: numbered scripts, and the command that runs them, `python -m migrations`."""
