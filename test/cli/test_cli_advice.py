"""Advice in messages can be followed: the commands and options that it names are there."""

import ast
import re
from pathlib import Path

import pytest
import typer

from vpr_ros.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
COMMAND = typer.main.get_command(app)
OTHERS = {
    "--help",
    "--show-args",
    "--ros-args",
    "--clock",
    "--src",
    "--dst",
    "--dst-version",
}  # options of other programs


def texts(path):
    """Texts of a module, less docstrings; the variable parts of formatted ones are blanks."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    parts = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "X" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | parts:
            yield node.value


def options_of(command):
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)}


def all_options(command):
    return options_of(command).union(*(all_options(child) for child in getattr(command, "commands", {}).values()))


SENTENCES = sorted(
    {
        " ".join(text.split())
        for folder in ("vpr_ros", "training")
        for path in (ROOT / folder).rglob("*.py")
        if not path.is_relative_to(ROOT / "vpr_ros" / "training")
        for text in texts(path)
        if " " in text.strip() and ("--" in text or "vpr_ros " in text)
    }
)


def test_sentences_are_found():
    assert len(SENTENCES) > 100 and any("with --place-radius" in sentence for sentence in SENTENCES)


@pytest.mark.parametrize("sentence", [s for s in SENTENCES if "`vpr_ros " in s])
def test_commands_that_messages_name_take_what_they_say(sentence):
    for call in re.findall(r"`vpr_ros ([^`]+)`", sentence):
        command, words = COMMAND, call.split()
        while words and hasattr(command, "commands") and re.fullmatch("[a-z]+", words[0]):
            assert words[0] in command.commands, call
            command = command.commands[words.pop(0)]
        given = {word.partition("=")[0].rstrip(",.") for word in words if re.match("--?[a-z]", word)}
        assert given <= options_of(command) | OTHERS, call


def test_options_that_messages_name_belong_to_a_command():
    known = all_options(COMMAND) | OTHERS
    ours = [re.sub(r"`pip [^`]*`", "", s) for s in SENTENCES]
    named = {option: s for s in ours for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", s)}
    assert {option: s for option, s in named.items() if option not in known} == {}
