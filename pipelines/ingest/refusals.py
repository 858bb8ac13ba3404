"""The two ways to say no: to one row, which goes to quarantine, and to the whole load, which leaves the log alone."""


class RowRefused(ValueError):
    """One row cannot be taken; the message is its reason in quarantine, without the value, to be counted."""


class LoadRefused(RuntimeError):
    """The load is refused whole and the log is as it was; the message says what, where and what to do."""
