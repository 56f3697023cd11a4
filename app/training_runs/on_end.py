"""What follows when a training run ends: the webhook tells of it, and a release that passed its gate may go live."""

import asyncio
import logging
from typing import Any

from app.engine.store import TrainingRun
from app.errors import SameaskError
from app.releases.releases import Releases
from app.webhook.delivery import Webhook

log = logging.getLogger(__name__)


class Events:
    """Called by whoever did it; nothing that fails here undoes what happened."""

    def __init__(self, webhook: Webhook, releases: Releases, *, auto_promote: bool) -> None:
        self._webhook = webhook
        self._releases = releases
        self._auto_promote = auto_promote

    async def run_ended(self, run: TrainingRun) -> None:
        """A run has ended, however it did; with `auto_promote`, a release that passed its gate is made live."""
        told = {"run": run.id, "collection": run.collection, "state": run.state}
        await self._tell(
            "training_run.finished", {**told, "release": run.release, "error": run.error}
        )
        if run.gate is None:
            return
        decided = {"outcome": run.gate["outcome"], "reasons": run.gate["reasons"]}
        await self._tell("gate.decided", {"run": run.id, "release": run.release, **decided})
        if self._auto_promote and run.release and run.gate["outcome"] == "passed":
            try:
                await self._releases.activate(run.release, f"training run {run.id} passed its gate")
            except SameaskError as error:
                log.warning(
                    "the release %s passed its gate and was not made live: %s", run.release, error
                )

    async def _tell(self, event: Any, data: dict[str, Any]) -> None:
        await asyncio.to_thread(self._webhook.notify, event, data)
