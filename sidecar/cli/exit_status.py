"""The early end of a command: its status (contract, section 3) and lines on standard error."""

DONE = 0
NEGATIVE = 1
"""A negative answer: a failed test, a denied check."""
MISTAKE = 2
"""Bad usage, configuration or input, or a daemon that is not there."""


class Stop(Exception):  # noqa: N818 - it may be no error
    """The command ends here, with `status` and `lines` for standard error."""

    def __init__(self, *lines: str, status: int = MISTAKE) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.status = status
