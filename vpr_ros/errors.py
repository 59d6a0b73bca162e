"""The one exception that users are meant to read."""


class VprError(Exception):
    """Bad input, told in one sentence: what is wrong, where, and what to do about it.

    The command line prints it without a traceback and exits with 2; a node reports it in diagnostics.
    """


class FrameError(VprError):
    """One message of a stream is unusable; it is skipped and counted, and the run goes on."""
