"""Training runs: their queue, the worker that runs them as child processes, and what follows when one ends."""
