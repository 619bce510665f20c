"""Time, for tests that are about it."""


class Clock:
    """A time that passes when a test says so."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time
