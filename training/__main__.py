"""`python -m training`: makes releases."""

from training.cli import main

main()
