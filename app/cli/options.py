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
InFile = Annotated[
    Path, typer.Argument(help="CSV, TSV, JSONL or Parquet.", exists=True, dir_okay=False)
]
IdColumn = Annotated[str, typer.Option(help="Column of the ids.")]
TextColumn = Annotated[str, typer.Option(help="Column of the texts.")]
SkipBad = Annotated[bool, typer.Option(help="Import the good rows of a file with broken ones.")]
