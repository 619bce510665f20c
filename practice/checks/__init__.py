"""The checks: one module for each stage. A check says what it asks and what it expects; the rest is the library's."""
