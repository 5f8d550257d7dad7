"""Errors that a user can mend: one line each, no traceback."""


class ReplicationError(Exception):
    """A user's mistake or a broken input. Its text is the message: what, where, what to do."""


class SpecError(ReplicationError):
    """A table or tier file that does not hold. Its text has one line per problem."""


class DataError(ReplicationError):
    """A data set that is missing or damaged. Its text has one line per problem."""


class RunError(ReplicationError):
    """A results folder, record or checkpoint that cannot be used as it is."""


class OutOfMemory(ReplicationError):
    """A step that the device's memory does not hold; the text says what would fit."""


class Diverged(ReplicationError):
    """The loss left the finite numbers; the text names the iteration."""
