"""What stands in the place of `python -m training retrain`: it does what its plan says, and no training.

    python tests/stand_in_child.py PLAN --work DIR

A plan is a list of words, done one after the other: `phase:NAME` reports a phase, `wait:NAME` stays until a file
`DIR/NAME` is there, `result` and `torn-result` write one, `say:TEXT` writes to standard error, `exit:CODE` and `kill`
end it, `eat:MB` fills memory, `deaf` ignores SIGTERM, `fork` starts a grandchild that is deaf, `hang` does nothing for
ever.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STEP_SECONDS = 0.02
VERDICT = {
    "outcome": "passed",
    "reasons": ["better on labels"],
    "more_labels": None,
    "to_label": [],
}

held: list[bytearray] = []


def replace(file: Path, content: str) -> None:
    """Write a file as a whole, or not at all."""
    part = file.with_name(file.name + ".part")
    part.write_text(content)
    part.replace(file)


def report(work: Path, phase: str, step: int) -> None:
    """Say how far this is; the loss is no number, as it may be when training goes astray."""
    progress = {
        "phase": phase,
        "step": step,
        "steps": 10,
        "loss": float("nan"),
        "eta_seconds": 10.0 - step,
    }
    replace(work / "progress.json", json.dumps(progress))


def do(word: str, work: Path) -> None:
    """Do one word of a plan."""
    what, _, value = word.partition(":")
    match what:
        case "phase":
            report(work, value, 1)
        case "wait":
            while not (work / value).exists():
                time.sleep(STEP_SECONDS)
        case "result":
            name = Path(json.loads((work / "request.json").read_text())["release"]).name
            replace(work / "result.json", json.dumps({"release": name, "gate": VERDICT}))
        case "torn-result":
            (work / "result.json").write_text('{"release": "x", "ga')
        case "say":
            sys.stderr.write(f"{value}\n")
            sys.stderr.flush()
        case "exit":
            sys.exit(int(value))
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "eat":
            held.append(bytearray(os.urandom(1)) * (int(value) * 2**20))
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "fork":
            other = subprocess.Popen(
                [sys.executable, __file__, "deaf", "hang", "--work", str(work)]
            )
            replace(work / "forked", str(other.pid))
        case "hang":
            time.sleep(10_000)
        case _:
            raise ValueError(word)


def main() -> None:
    """Do the plan, and note in the file `starts` that this was started."""
    parser = argparse.ArgumentParser()
    parser.add_argument("plan", nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    with (arguments.work / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    for word in arguments.plan:
        do(word, arguments.work)


if __name__ == "__main__":
    main()
