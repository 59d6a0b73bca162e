"""The one exception that users are meant to read."""

LONGEST = 1200  # characters of a sentence


class VprError(Exception):
    """Bad input, told in one sentence: what is wrong, where, and what to do about it.

    The command line prints it without a traceback and exits with 2; a node reports it in diagnostics. What it quotes of
    a file may hold line ends, control characters and any length: the text has one line of at most LONGEST characters.
    """

    def __str__(self) -> str:
        text = " ".join("".join(c if c.isprintable() else " " for c in super().__str__()).split())
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 + 3 :]}"


class FrameError(VprError):
    """One message of a stream is unusable; it is skipped and counted, and the run goes on."""
