"""`python -m app.cli`: the `sameask` command, for who starts it as a process of the same Python."""

from app.cli.main import main

main()
