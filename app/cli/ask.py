"""`sameask find` and `sameask pair`: one question, or one pair, and what is said of it."""

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from app.cli.client import request
from app.cli.options import AsJson, InCollection, KeyFile, Url
from app.cli.terminal import cell, print_json, print_table


def find(
    text: Annotated[str, typer.Argument(help="The question.")],
    collection: InCollection = "default",
    top_k: Annotated[int, typer.Option(min=1, help="Most candidates.")] = 5,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Has this question been asked before?"""
    body = {"questions": [text], "collection": collection, "top_k": top_k}
    answer = request(url, key_file, "POST", "/duplicates", json=body)
    if as_json:
        print_json(answer)
        return
    finding = answer["results"][0]
    title = f"verdict: {finding['verdict']}"
    table = Table("verdict", "probability", "similarity", "id", "text", "why", title=title)
    for candidate in finding["candidates"]:
        own = cell(candidate["id"]), cell(candidate["text"]), _why(candidate)
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
    pairs = [{"question1": question1, "question2": question2}]
    body = {"pairs": pairs, "collection": collection}
    answer = request(url, key_file, "POST", "/pair-score", json=body)
    if as_json:
        print_json(answer)
        return
    score = answer["scores"][0]
    table = Table("verdict", "probability", "similarity", "why")
    table.add_row(*_score_cells(score), _why(score))
    print_table(table)


def _why(score: dict[str, Any]) -> Text:
    """The reasons, the most important first."""
    return cell("; ".join(reason["sentence"] for reason in score["reasons"]))


def _score_cells(score: dict[str, Any]) -> list[Text]:
    """Verdict, probability and similarity for a table, and whose word the verdict is."""
    verdict = score["verdict"]
    if label := score["label"]:
        verdict += ", people disagree" if label["contradicted"] else f", says {label['by']}"
    return [cell(verdict), cell(f"{score['probability']:.3f}"), cell(f"{score['similarity']:.3f}")]
