"""Where messages come from besides HTTP: translate in, call the service once, translate out."""
