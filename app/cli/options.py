"""Options and arguments that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(help="Address of a running server; without it the data directory is opened here."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the key for the server at --url; without it SAMEASK_KEY holds one. The key itself is no option:"
        " whoever lists the processes of a machine reads their options."
    ),
]
InCollection = Annotated[str, typer.Option("--collection", "-c", help="The collection.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of CSV.")]
KINDS = "CSV, TSV, JSON (lines or an array), .xlsx or Parquet, text also inside gzip or ZIP"
STANDARD_INPUT = Path("-")


def _is_there(path: Path | None) -> Path | None:
    """Refuse the name of a file that is not there, or is a folder."""
    if path not in (None, STANDARD_INPUT):
        if not path.exists():
            raise typer.BadParameter(f"file '{path}' does not exist")
        if path.is_dir():
            raise typer.BadParameter(f"'{path}' is a folder")
    return path


InFile = Annotated[
    Path, typer.Argument(help=f"{KINDS}; `-` is standard input.", callback=_is_there)
]
MaybeInFile = Annotated[
    Path | None,
    typer.Argument(help=f"Questions: {KINDS}; `-` is standard input.", callback=_is_there),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        help="Between the cells of a line: one character, or `tab`. Found out if not said."
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(help="Of a text, as `utf-8` or `cp1251`. Found out if not said."),
]
Rejected = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False, help="Write the rows that can't be taken into this file, as CSV, and why."
    ),
]
IdColumn = Annotated[str, typer.Option(help="Column of the ids.")]
TextColumn = Annotated[str, typer.Option(help="Column of the texts.")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Import the good rows of a file with broken ones.")
]
