import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fcclip.modeling.deformable.backends import triton_installed
from tests.modeling.deformable.samples import SHAPES, random_inputs

if not triton_installed():
    pytest.skip("Triton is not installed", allow_module_level=True)
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("this is about Triton outside its interpreter", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

try:
    from fcclip.modeling.deformable import triton_kernels
except RuntimeError:  # of Triton 3.2
    pytest.skip("this Triton defines autotuned kernels only where there is a GPU", allow_module_level=True)
from fcclip.modeling.deformable.triton_backend import sample_triton, why_not

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def test_kernels_in_the_interpreter() -> None:
    # Triton reads the variable when it is imported, hence another process.
    kernels = Path(__file__).with_name("test_triton_kernels.py")
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(kernels)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert re.search(r"[1-9]\d passed", run.stdout)  # not all skipped


def test_cpu_tensors_are_an_error() -> None:
    with pytest.raises(ValueError, match='runs on a GPU, not on "cpu"; choose "auto"'):
        sample_triton(*with_shapes(SHAPES))


@pytest.mark.parametrize("shapes", [((3, 4), (5, 8)), ((3, 4),), ((3, 4), (35, 1), (0, 1)), ((47, 1), (0, 3))])
def test_what_does_not_fit_is_an_error(monkeypatch, shapes) -> None:
    monkeypatch.setattr("fcclip.modeling.deformable.triton_kernels.INTERPRETED", True)  # as if on a GPU
    with pytest.raises(ValueError, match="do not fit the levels|needs a height and a width"):
        sample_triton(*with_shapes(shapes))


def with_shapes(shapes):
    value, locations, weights = random_inputs()
    return value, shapes, locations, weights


@needs_no_gpu
def test_a_missing_gpu_is_a_reason() -> None:
    assert why_not(torch.device("cuda", 0))


@pytest.mark.parametrize(
    ("name", "value_type", "wide", "fixed_point"),
    [
        ("forward", "*fp32", False, False),
        ("forward", "*bf16", True, False),
        ("backward", "*bf16", False, False),
        ("backward", "*fp32", True, False),
        ("backward", "*fp32", False, True),
    ],
)
def test_compiles_for_the_card(
    monkeypatch, tmp_path, name: str, value_type: str, wide: bool, fixed_point: bool
) -> None:
    """For a GPU that need not be here: what the interpreter forgives, the compiler may not."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    compiled = compile_kernel(name, value_type, wide, fixed_point)
    assert compiled.metadata.name == f"{name}_kernel"
    assert compiled.asm["cubin"].startswith(b"\x7fELF")  # machine code, not only what the compiler makes on the way


def compile_kernel(name: str, value_type: str, wide: bool, fixed_point: bool) -> Any:
    """A kernel compiled for an H100, with the sizes of FC-CLIP."""
    kernel = getattr(triton_kernels, f"{name}_kernel").fn
    constants = {"HEADS": 8, "D": 32, "LEVELS": 3, "POINTS": 4, "BLOCK_D": 32, "BLOCK_N": 16, "WIDE": wide}
    constants |= {"SUM": triton_kernels.tl.float32}
    if name == "backward":
        constants |= {"FIXED_POINT": fixed_point} | ({} if fixed_point else {"units": None})
    types = dict.fromkeys(kernel.arg_names, "*fp32")
    types |= dict.fromkeys(("value", "out", "grad_out"), value_type)
    types |= {"level_shapes": "*i32"} | dict.fromkeys(triton_kernels.NOT_SPECIALIZED, "i32")
    types |= {"grad_value": "*i64" if fixed_point else "*fp32"} | dict.fromkeys(constants, "constexpr")
    source = ASTSource(
        fn=kernel,
        signature={argument: types[argument] for argument in kernel.arg_names},
        constexprs={(kernel.arg_names.index(argument),): value for argument, value in constants.items()},
        attrs={
            (index,): [["tt.divisibility", 16]]
            for index, argument in enumerate(kernel.arg_names)
            if types[argument].startswith("*")
        },
    )
    options = {"num_warps": 2, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
