"""What a command cannot do, in words that need no traceback."""


class CommandError(Exception):
    """Its message says what failed and what to do; the command prints it and ends with status 1."""
