"""A process that runs many commands of one program, so that its libraries are loaded once.

    python command_line.py sameask|training MODULE:FUNCTION          commands as JSON from standard input
    python command_line.py sameask|training MODULE:FUNCTION --help   the help of every command

It prints JSON: for each command its words, exit code, standard output and standard error.
"""

import contextlib
import io
import json
import pkgutil
import re
import runpy
import sys
from collections.abc import Sequence

HIDDEN = {"training": [["retrain"]], "sameask": []}  # commands that no help lists
PANEL = re.compile(r"╭─ Commands ─+╮\n(.*?)╰─", re.DOTALL)
NAME = re.compile(r"^│ ([a-z][a-z-]*) ", re.MULTILINE)

Outcome = dict[str, object]


def call(program: str, entry_point: str) -> None:
    """Run the program with the words in `sys.argv`."""
    if program == "sameask":
        pkgutil.resolve_name(entry_point)()
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def run(program: str, entry_point: str, words: Sequence[str]) -> Outcome:
    """One command: its words, and what came of it."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    arguments = sys.argv
    sys.argv = [program, *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            call(program, entry_point)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.argv = arguments
    return {
        "command": [program, *words],
        "code": code,
        "out": out.getvalue(),
        "err": err.getvalue(),
    }


def helps(program: str, entry_point: str, words: Sequence[str] = ()) -> list[Outcome]:
    """The help of a command, and of every command inside it."""
    shown = run(program, entry_point, [*words, "--help"])
    panel = PANEL.search(str(shown["out"]))
    inside = [[*words, name] for name in NAME.findall(panel[1])] if panel else []
    if not words:
        inside += HIDDEN[program]
    found = [shown]
    for command in inside:
        found += helps(program, entry_point, command)
    return found


def main() -> None:
    """Do what the arguments say."""
    program, entry_point, *rest = sys.argv[1:]
    if rest == ["--help"]:
        outcomes = helps(program, entry_point)
    else:
        outcomes = [run(program, entry_point, words) for words in json.load(sys.stdin)]
    sys.stdout.write(json.dumps(outcomes, ensure_ascii=False))


if __name__ == "__main__":
    main()
