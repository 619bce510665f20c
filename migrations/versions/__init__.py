"""One module for each step of the data model. A step is idempotent: run twice, it changes nothing more."""
