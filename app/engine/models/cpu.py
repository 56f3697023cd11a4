"""The processor that this runs on: what it is, and what it can do."""

import platform
from hashlib import sha256
from pathlib import Path


def processor() -> str:
    """What tells one kind of processor from another: its name and a digest of its instructions."""
    lines = dict.fromkeys(
        line for line in _cpuinfo() if line.startswith(("model name", "flags", "Features"))
    )
    return f"{platform.machine()} {platform.processor()} {sha256(''.join(lines).encode()).hexdigest()[:16]}"


def has_instructions(*flags: str) -> bool:
    """Whether Linux names any of these for this processor; False elsewhere."""
    return any(f" {flag}" in line for line in _cpuinfo() for flag in flags)


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return []
