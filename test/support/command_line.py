"""Calls of the command line in this process, and what a refusal looks like."""

from typer.testing import CliRunner


def run(*arguments):
    """Call the command line; its result has exit_code, stdout and stderr."""
    from vpr_ros.cli import app

    return CliRunner().invoke(app, [str(a) for a in arguments])


def assert_sentence(result, *words):
    """Exit code 2 and one line on stderr that says all of `words`."""
    assert result.exit_code == 2, (result.output, result.exception)
    text = result.stderr.strip()
    assert text.startswith("error: ") and "\n" not in text and "Traceback" not in text, text
    for word in words:
        assert str(word) in text, text
