"""Log lines on standard error: all of a server's or a worker's; of other commands, the reasons for a long wait."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from app.cli.terminal import print_note
from app.settings import Settings

CHOOSING = "app.engine.models.backends"  # measures for a minute or two where nothing is noted yet


def log_to_stderr(settings: Settings) -> None:
    """Write the log lines of this service from the level that SAMEASK_LOG_LEVEL says."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(name)s: %(message)s"))
    logger = logging.getLogger("app")
    logger.addHandler(handler)
    logger.setLevel(settings.log_level.upper())


@contextmanager
def waits_told() -> Iterator[None]:
    """Inside, a note tells when backends are measured, so that nobody takes the first start for one that hangs."""
    logger = logging.getLogger(CHOOSING)
    level = logger.level
    handler = _Notes()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print_note(record.getMessage())
