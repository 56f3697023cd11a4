"""`sameask find` and `sameask pair`: the candidates for one question, or the judgement of one pair."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from app.cli.client import run
from app.cli.options import AsJson, InCollection, KeyFile, Url
from app.cli.terminal import cell, print_result, print_table
from sameask_client import UNSET, Candidate, Score


def find(
    text: Annotated[str, typer.Argument(help="The question.")],
    collection: InCollection = "default",
    top_k: Annotated[
        int | None,
        typer.Option(min=1, help="Most candidates; left out, 5 or as many as the server allows."),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Has this question been asked before?"""
    answer = run(
        url,
        key_file,
        lambda service: service.find_duplicates(
            text, collection=collection, top_k=UNSET if top_k is None else top_k
        ),
    )
    if as_json:
        print_result(answer)
        return
    (finding,) = answer.results
    title = f"verdict: {finding.verdict}"
    table = Table("verdict", "probability", "similarity", "id", "text", "why", title=title)
    for candidate in finding.candidates:
        own = cell(candidate.id), cell(candidate.text), _why(candidate)
        table.add_row(*_score_cells(candidate), *own)
    print_table(table)


def pair(
    question1: Annotated[str, typer.Argument(help="One question.")],
    question2: Annotated[str, typer.Argument(help="The other.")],
    collection: Annotated[
        str, typer.Option("--collection", "-c", help="Whose labels hold.")
    ] = "default",
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Do these two ask the same?"""
    pairs = [(question1, question2)]
    answer = run(url, key_file, lambda service: service.score_pairs(pairs, collection=collection))
    if as_json:
        print_result(answer)
        return
    (score,) = answer.scores
    table = Table("verdict", "probability", "similarity", "why")
    table.add_row(*_score_cells(score), _why(score))
    print_table(table)


def _why(score: Candidate | Score) -> Text:
    """The reasons, the most important first."""
    return cell("; ".join(reason.sentence for reason in score.reasons))


def _score_cells(score: Candidate | Score) -> list[Text]:
    """The cells of a table: verdict with its author, probability and similarity."""
    verdict: str = score.verdict
    if score.label:
        verdict += ", people disagree" if score.label.contradicted else f", says {score.label.by}"
    return [cell(verdict), cell(f"{score.probability:.3f}"), cell(f"{score.similarity:.3f}")]
