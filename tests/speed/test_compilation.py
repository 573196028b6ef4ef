import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from fcclip import Vocabulary
from fcclip.speed.compilation import CompiledByShape, compile_parts
from tests.speed.models import IMAGE, seeded

OTHER_SIZE = {"image": IMAGE["image"][:, :40, :50]}


@pytest.mark.parametrize("kind", ["convnext", "resnet"])
def test_compiled_parts_give_the_same_results(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The backend "eager" runs what was traced: whether all of it can be traced as one graph is what a test can see.
    monkeypatch.setattr(
        "fcclip.speed.compilation.choose_backend", lambda *_: "triton"
    )  # so that the pixel decoder is in
    plain, compiled = seeded(kind), seeded(kind)
    compile_parts(compiled, backend="eager")
    for part, name in (("backbone", "forward"), ("sem_seg_head.pixel_decoder", "forward_features")):
        assert isinstance(getattr(compiled.get_submodule(part), name), CompiledByShape)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    for names in ("cat; dog,puppy", "person; sky=stuff; tree; road"):
        for model in (plain, compiled):
            model.set_vocabulary(Vocabulary.from_string(names))
        torch.testing.assert_close(compiled([IMAGE])[0]["sem_seg"], plain([IMAGE])[0]["sem_seg"])
    if kind == "convnext":
        with torch.inference_mode():
            torch.testing.assert_close(compiled([OTHER_SIZE])[0]["sem_seg"], plain([OTHER_SIZE])[0]["sem_seg"])


def test_sampling_by_pytorch_is_not_compiled() -> None:
    model = seeded("convnext")
    compile_parts(model, backend="eager")
    assert isinstance(model.sem_seg_head.predictor.decode, CompiledByShape)
    assert not isinstance(model.sem_seg_head.pixel_decoder.forward_features, CompiledByShape)


def test_shapes_beyond_the_first_run_uncompiled(caplog: pytest.LogCaptureFixture) -> None:
    graphs = []

    def backend(graph: Any, examples: list[Tensor]) -> Any:
        graphs.append(examples)
        return graph.forward

    twice = CompiledByShape(lambda tensors: [2 * tensors["x"]], backend, max_shapes=2)
    for size in (3, 4, 3, 5, 6, 4):
        x = torch.arange(size)
        assert torch.equal(twice({"x": x})[0], 2 * x)
    assert len(graphs) == 2
    assert caplog.text.count("compiled for 2 image sizes, further sizes run uncompiled") == 1


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"MODEL.FC_CLIP.COMPILE needs a C\+\+ compiler, and there is no"):
        compile_parts(seeded("convnext"))
