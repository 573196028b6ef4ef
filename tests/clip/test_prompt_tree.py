import torch

from fcclip.clip.prompt_tree import PromptTree

END = 9
PROMPTS = torch.tensor(
    [
        [8, 1, 2, 3, END, 0],
        [8, 1, 2, END, 0, 0],
        [8, 1, 4, 3, END, 0],
        [8, 1, 2, 3, END, 0],
        [8, END, 0, 0, 0, 0],
    ]
)


def test_a_beginning_is_one_node() -> None:
    tree = PromptTree.build(PROMPTS, torch.device("cpu"))
    beginnings = {tuple(row[: place + 1].tolist()) for row in PROMPTS for place in range(int(row.argmax()) + 1)}
    assert len(tree.tokens) == len(beginnings) == 10
    assert tree.nodes.shape == (5, 5)
    assert tree.ends[0] == tree.ends[3]
    assert len(tree.ends.unique()) == 4


def test_every_prompt_can_be_read_from_the_tree() -> None:
    tree = PromptTree.build(PROMPTS, torch.device("cpu"))
    for row, nodes, end in zip(PROMPTS, tree.nodes, tree.ends, strict=True):
        length = int(row.argmax()) + 1
        assert torch.equal(tree.tokens[nodes[:length]], row[:length])
        assert tree.positions[nodes[:length]].tolist() == list(range(length))
        assert (nodes[length - 1 :] == end).all()
    assert torch.equal(tree.nodes.flatten()[tree.places], torch.arange(len(tree.tokens)))
