"""Load the service, read what came of it, and compare settings. Run it with `python -m loadtests`."""
