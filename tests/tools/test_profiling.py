from itertools import count

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fcclip import Vocabulary
from tests.tiny import tiny_model
from tools import profiling
from tools.profiling import REST, Clock, Counter, Part, Rates, print_profile, profile

IMAGE = {"image": torch.zeros(3, 64, 96)}
CPU = torch.device("cpu")


def test_a_part_stops_the_clock_of_the_one_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(profiling, "now", lambda device: float(next(ticks)))  # a second passes at each look
    clock = Clock(CPU)
    with clock.enter("outer"):
        with clock.enter("inner"), clock.enter("innermost"):
            pass
        with clock.enter("inner"):
            pass
    assert clock.seconds == {"outer": 3, "inner": 3, "innermost": 1}


def test_only_what_comes_in_and_what_stays_is_moved() -> None:
    x, weight, kept = torch.randn(10, 20), torch.randn(20, 30), []
    counter = Counter()
    with torch.no_grad(), counter, counter.enter("whole"):
        product = (x @ weight).relu()  # the product itself is gone at the end
        with counter.enter("within"):
            kept.append(product.sum(dim=0))
        x.mul_(2)
    assert counter.parts["whole"].flops == {torch.float32: 2 * 10 * 20 * 30}
    # x is read and written.
    assert counter.parts["whole"].bytes == 4 * (2 * 10 * 20 + 20 * 30 + 10 * 30)
    assert counter.parts["within"].bytes == 4 * (10 * 30 + 30)
    assert not counter.parts["within"].flops


@pytest.mark.parametrize("kind", ["convnext", "resnet"])
def test_every_part_of_a_model_is_found(kind: str) -> None:
    model = tiny_model(kind).requires_grad_(False)  # PyTorch's counter expects gradients where there could be some
    model.set_vocabulary(Vocabulary.from_string("cat; sky=stuff"))
    with torch.no_grad():
        expected = model([IMAGE])[0]["sem_seg"]
        with FlopCounterMode(display=False) as counted:
            model([IMAGE])
        parts = profile(model, [IMAGE], repeats=2)
        assert torch.equal(model([IMAGE])[0]["sem_seg"], expected)
    for name in (
        "image tower: stage 1", "image tower: stage 4", "pixel decoder: convolutions", "pixel decoder: projections",
        "pixel decoder: sampling", "pixel decoder: feed-forward", "transformer decoder: cross-attention",
        "classification", "results",
    ):  # fmt: skip
        assert parts[name].flops
        assert parts[name].bytes > 0
    assert list(parts)[-1] == REST
    assert all(len(part.seconds) == 2 for part in parts.values())
    sampling = sum(parts["pixel decoder: sampling"].flops.values())  # which PyTorch does not count
    assert sum(sum(part.flops.values()) for part in parts.values()) - sampling == counted.get_total_flops()


def test_the_table_shows_the_larger_floor(capsys: pytest.CaptureFixture[str]) -> None:
    rates = Rates({torch.float32: 1e9, torch.bfloat16: 4e9}, bytes=1e9)
    product = Part([0.5, 0.3, 0.4], {torch.float32: 10**8, torch.bfloat16: 4 * 10**8}, 10**6)
    copying = Part([0.1], {}, 5 * 10**7)
    print_profile({"product": product, "copying": copying}, rates)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows[0] == ["product", "400.0", "80.0%", "0.5", "200.0", "1.0", "1.0", "2.0"]
    assert rows[1] == ["copying", "100.0", "20.0%", "0.0", "0.0", "50.0", "50.0", "2.0"]
    assert rows[2] == ["all", "500.0", "2.0"]
