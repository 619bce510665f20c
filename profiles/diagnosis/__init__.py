"""Server or database? A verdict with its evidence, a time budget that closes, and an intervention that tests it."""
