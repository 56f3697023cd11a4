import platform

import pytest
import torch

from app.engine.models.cpu import has_instructions, processor


def test_instructions_are_those_that_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities = {"amx_tile": False, "avx512_bf16": True, "l2_cache_size": 1, "cpu_name": "A CPU"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_instructions("amx_tile", "avx512_bf16")
    assert not has_instructions("amx_tile", "l2_cache_size", "unheard_of")


def test_a_processor_of_other_instructions_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    here = processor()
    assert here == processor()
    assert here.startswith(f"{platform.machine()} ")
    capabilities = {**torch.cpu.get_capabilities(), "an_instruction": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert processor() != here
    assert processor().rpartition(" ")[0] == here.rpartition(" ")[0]
