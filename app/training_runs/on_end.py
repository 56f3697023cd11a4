"""The consequences of a training run's end: the webhook tells of it, and a release that passed its gate may go live."""

import asyncio
import logging
from typing import Any

from app.engine.store import TrainingRun
from app.errors import SameaskError
from app.releases.releases import Releases
from app.webhook.delivery import Event, Webhook

log = logging.getLogger(__name__)


class OnEnd:
    """Acts on each run that has ended. A failure here never changes the run."""

    def __init__(self, webhook: Webhook, releases: Releases, *, auto_promote: bool) -> None:
        self._webhook = webhook
        self._releases = releases
        self._auto_promote = auto_promote

    async def run_ended(self, run: TrainingRun) -> None:
        """A run has ended, however it did; with `auto_promote`, a release that passed its gate is made live."""
        ending = {
            "run": run.id,
            "collection": run.collection,
            "state": run.state,
            "release": run.release,
            "error": run.error,
        }
        await self._notify("training_run.finished", ending)
        if run.gate is None:
            return
        decision = {
            "run": run.id,
            "release": run.release,
            "outcome": run.gate["outcome"],
            "reasons": run.gate["reasons"],
        }
        await self._notify("gate.decided", decision)
        if self._auto_promote and run.release and run.gate["outcome"] == "passed":
            await self._promote(run.release, run.id)

    async def _promote(self, release: str, run_id: int) -> None:
        try:
            await self._releases.activate(release, f"training run {run_id} passed its gate")
        except SameaskError as error:
            log.warning("the release %s passed its gate and was not made live: %s", release, error)

    async def _notify(self, event: Event, data: dict[str, Any]) -> None:
        await asyncio.to_thread(self._webhook.notify, event, data)
