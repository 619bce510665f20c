"""The data model's history, as numbered scripts and a runner. Run it with `python -m migrations`."""
