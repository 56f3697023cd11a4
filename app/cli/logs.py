"""Log lines of a command that serves or works: on standard error."""

import logging

from app.settings import Settings


def log_to_stderr(settings: Settings) -> None:
    """Write the log lines of this service from the level that SAMEASK_LOG_LEVEL says."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(name)s: %(message)s"))
    logger = logging.getLogger("app")
    logger.addHandler(handler)
    logger.setLevel(settings.log_level.upper())
