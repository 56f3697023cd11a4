"""The commands that the documentation names, and the options that they have."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from app.cli.main import COMMANDS, load
from training.cli import cli as training

PROGRAM = re.compile(
    r"(?:^|[\s(;&|$])(?P<program>(?:[\w./]+/)?sameask|python -m training) (?P<rest>[^\n]*)"
)
PLACEHOLDER = re.compile(r"[A-Z]+|…|\.\.\.|\[.*")
ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "<"}
COMMON = {"--help", "-h", "--version", "--install-completion"}


def unknown_names(script: str) -> Iterator[str]:
    """Commands and options that a script names and nothing has."""
    for program, words in called(script):
        command = _root(program)
        path = program
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            if words[0] not in command.commands:
                yield f"{path} {words[0]}"
                break
            command, path = command.commands[words[0]], f"{path} {words[0]}"
            words = words[1:]
        else:
            yield from (f"{path} {option}" for option in _unknown_options(command, words))


def called(script: str) -> Iterator[tuple[str, list[str]]]:
    """Each call of a program in a script: its name and its words."""
    for match in PROGRAM.finditer(script.replace("\\\n", " ")):
        program = "training" if "training" in match["program"] else "sameask"
        words: list[str] = []
        for word in _split(match["rest"]):
            if word in ENDS:
                break
            words.append(word)
        if words[:1] == ["sameask"]:  # the name of a container stands before that of the command
            words = words[1:]
        if words and not PLACEHOLDER.fullmatch(words[0]):
            yield program, words


def _split(rest: str) -> list[str]:
    lexer = shlex.shlex(rest, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:  # a quote goes on in the next line: what stands before it is looked at
        return rest.split("'", 1)[0].split('"', 1)[0].split()


def _unknown_options(command: Any, words: list[str]) -> Iterator[str]:
    known = {name for one in command.params for name in [*one.opts, *one.secondary_opts]} | COMMON
    for word in words:
        option = word.split("=", 1)[0]
        if re.fullmatch(r"--?[a-z][a-z-]*", option) and option not in known:
            yield option


class _Sameask:
    """The command, its parts loaded as they are asked for."""

    params: tuple[Any, ...] = ()

    def __init__(self) -> None:
        self.commands = {name: load(command.place) for name, command in COMMANDS.items()}


def _root(program: str) -> Any:
    return typer.main.get_command(training) if program == "training" else _SAMEASK


_SAMEASK = _Sameask()
