"""Real answers of each verdict, right ones and wrong ones, and forty with reasons, for docs/verdicts.md.

    python benchmarks/answers.py                                          # print them
    python benchmarks/answers.py --release releases/minilm-questions-2 --into docs/verdicts.md

Asked are pairs of the written side `report` (a question with its paraphrases and near-misses) and of out_of_domain.tsv,
by `POST /pair-score`, until each verdict has its answers or the pairs end. Pairs are drawn by a seed, not chosen. Of
the wrong ones among them at least a fifth are shown, where there are so many.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent))

from app.settings import Settings
from benchmarks.corpus import say
from benchmarks.processes import serving
from training.mix import asked_pairs
from training.pairs import LabelledPair, read_pairs
from training.written import Side

ROOT = Path(__file__).parent.parent
BEGIN = "<!-- answers: made by benchmarks/answers.py -->\n"
END = "<!-- end of answers -->"
VERDICTS = ("duplicate", "review", "different")
OF_EACH = 40  # answers of each verdict
WRONG_SHARE = 0.2
ASKED = 600  # pairs of the written side; of the other set, all
BATCH = 50  # pairs in a request
SEED = 20
SETTINGS: dict[str, Any] = {"max_waiting_pairs": 2048}


@dataclass(frozen=True)
class Answer:
    """The service's answer for a labelled pair."""

    pair: LabelledPair
    verdict: str
    probability: float
    reasons: Sequence[str]
    is_unread: bool  # its reason is that the classifier has not read it

    @property
    def is_wrong(self) -> bool:
        """Whether the label contradicts the verdict; `review` contradicts none."""
        if self.verdict == "review":
            return False
        return self.pair.is_duplicate != (self.verdict == "duplicate")


def main() -> None:
    """Ask, choose, print or write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", type=Path, default=Settings().release)
    parser.add_argument("--side", choices=("train", "calibration", "report"), default="report")
    parser.add_argument("--into", type=Path, help="the page whose answers are replaced")
    arguments = parser.parse_args()
    answers = ask(arguments.release, drawn_pairs(arguments.side))
    name = arguments.release.name
    sections = [section(name, verdict, answers) for verdict in VERDICTS]
    text = "\n".join([*sections, reasons(name, answers)])
    if arguments.into:
        before, _, rest = arguments.into.read_text("utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        arguments.into.write_text(f"{before}{BEGIN}{text}{END}{after}", "utf-8")
    else:
        print(text)


def drawn_pairs(side: Side) -> list[LabelledPair]:
    """The pairs to ask, in a random order."""
    chances = random.Random(SEED)
    pairs = asked_pairs(side)
    chosen = chances.sample(pairs, min(ASKED, len(pairs)))
    chosen += read_pairs(ROOT / "app" / "engine" / "data" / "out_of_domain.tsv")
    chances.shuffle(chosen)
    return chosen


def ask(release: Path, pairs: Sequence[LabelledPair]) -> list[Answer]:
    """The answers of a release, served."""
    answers: list[Answer] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), release=release.resolve(), **SETTINGS)
        say(f"{release.name}: {len(pairs):,} pairs")
        with serving(settings) as server, httpx.Client(base_url=server.url, timeout=300) as client:
            for start in range(0, len(pairs), BATCH):
                answers += _ask(client, pairs[start : start + BATCH])
    return answers


def _ask(client: httpx.Client, pairs: Sequence[LabelledPair]) -> list[Answer]:
    body = {"pairs": [{"question1": p.question1, "question2": p.question2} for p in pairs]}
    scores = client.post("/pair-score", json=body).raise_for_status().json()["scores"]
    answers = []
    for pair, score in zip(pairs, scores, strict=True):
        sentences = [reason["sentence"] for reason in score["reasons"]]
        is_unread = any(reason["code"] == "unread" for reason in score["reasons"])
        answers.append(Answer(pair, score["verdict"], score["probability"], sentences, is_unread))
    return answers


def section(release: str, verdict: str, answers: Sequence[Answer]) -> str:
    """The answers of one verdict as a table."""
    own = [answer for answer in answers if answer.verdict == verdict]
    wrong = [answer for answer in own if answer.is_wrong]
    right = [answer for answer in own if not answer.is_wrong]
    shown_wrong = wrong[: max(round(OF_EACH * WRONG_SHARE), round(OF_EACH * len(wrong) / len(own)))]
    shown = [*right[: OF_EACH - len(shown_wrong)], *shown_wrong]
    lines = [
        f"### `{verdict}` by `{release}`: {len(own)} of {len(answers)} asked, {len(wrong)} of them wrong\n",
        "| one question | the other | asks the same | probability | reasons |\n|---|---|---|---|---|",
    ]
    for answer in shown:
        same = "yes" if answer.pair.is_duplicate else "no"
        if answer.is_wrong:
            same = f"**{same}**"
        cells = [
            _cell(answer.pair.question1),
            _cell(answer.pair.question2),
            same,
            f"{answer.probability:.3f}",
            _cell("; ".join(answer.reasons)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def reasons(release: str, answers: Sequence[Answer]) -> str:
    """The first answers with a reason in the words of the two texts, as a table."""
    own = [answer for answer in answers if answer.reasons and not answer.is_unread]
    lines = [
        f"### Reasons by `{release}`: {len(own)} of {len(answers)} asked have one beside `unread`\n",
        "| one question | the other | verdict | reasons |\n|---|---|---|---|",
    ]
    for answer in own[:OF_EACH]:
        cells = [
            _cell(answer.pair.question1),
            _cell(answer.pair.question2),
            answer.verdict,
            _cell("; ".join(answer.reasons)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """A text as a cell of a Markdown table, in which nothing is markup."""
    escaped = "".join(
        f"\\{character}" if character in "\\|`*_<[" else character for character in text
    )
    return " ".join(escaped.split())


if __name__ == "__main__":
    main()
