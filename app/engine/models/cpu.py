"""The processor that this runs on: its kind, and its instructions, as torch sees them."""

from hashlib import sha256

import torch


def processor() -> str:
    """A name that tells one kind of processor from another, with a digest of its instructions."""
    capabilities = torch.cpu.get_capabilities()
    instructions = sorted(name for name, value in capabilities.items() if value is True)
    digest = sha256(" ".join(instructions).encode()).hexdigest()[:16]
    return f"{capabilities.get('architecture')} {capabilities.get('cpu_name')} {digest}"


def has_instructions(*names: str) -> bool:
    """Whether this processor has any of these: `avx512_bf16`, `amx_bf16`, `amx_tile` and the like."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) is True for name in names)
