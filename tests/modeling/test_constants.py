import torch

from fcclip.modeling.constants import cached_constant, collected_constants


@cached_constant(maxsize=1)
def ones(size: int) -> torch.Tensor:
    return torch.ones(size)


def test_it_is_made_once() -> None:
    assert ones(2) is ones(2)
    assert torch.equal(ones(3), torch.ones(3))


def test_made_in_inference_mode_it_serves_training() -> None:
    with torch.inference_mode():
        constant = ones(5)
    assert ones(5) is constant
    (torch.ones(5, requires_grad=True) * constant).sum().backward()


def test_who_must_keep_constants_gets_them() -> None:
    first = ones(7)
    with collected_constants() as kept:
        ones(7)
        ones(8)
    ones(9)
    assert kept[0] is first
    assert [len(constant) for constant in kept] == [7, 8]


def test_compiled_code_makes_its_own() -> None:
    compiled = torch.compile(lambda x: x + ones(4), backend="eager", fullgraph=True)
    with collected_constants() as kept:
        assert torch.equal(compiled(torch.zeros(4)), torch.ones(4))
    assert not kept
