"""How the time that a function takes grows with its input: a ratio, which a slow or busy machine leaves as it is."""

from collections.abc import Callable
from time import process_time

ROUNDS = 5  # of each size, in turn; the quickest counts
QUADRATIC = 16  # what four times the input costs where the time grows with the square


def growth(of_quarter: Callable[[int], object], of_whole: Callable[[int], object]) -> float:
    """How many times as long the whole takes as a quarter of it; each is called with the number of the round."""
    quarter = min(_seconds(of_quarter, number) for number in range(ROUNDS))
    whole = min(_seconds(of_whole, number) for number in range(ROUNDS))
    return whole / quarter


def _seconds(function: Callable[[int], object], number: int) -> float:
    began = process_time()
    function(number)
    return process_time() - began
