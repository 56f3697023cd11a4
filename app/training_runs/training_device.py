"""The device of a training run, chosen so that serving does not lack memory."""

import os
import subprocess
from typing import Literal

FREE_GPU_BYTES = 8 * 2**30
QUERY_SECONDS = 10


def training_device(wanted: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """`auto` is CUDA if so much of the GPU's memory is free that serving can't want for it, and else the CPU."""
    if wanted != "auto":
        return wanted
    return "cuda" if _free_gpu_bytes() >= FREE_GPU_BYTES else "cpu"


def _free_gpu_bytes() -> int:
    """As the driver's own command says it: asking through CUDA would itself take some of it. 0 without a GPU."""
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    command = ["nvidia-smi", f"--id={gpu}"]
    command += ["--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True
        )
        return int(answer.stdout.split()[0]) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0
