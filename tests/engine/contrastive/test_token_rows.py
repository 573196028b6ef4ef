import pytest
import torch
from torch import nn

from fcclip.engine.contrastive.token_rows import TokenRows


def test_rows_stand_in_for_the_table_and_go_back_into_it():
    torch.manual_seed(0)
    table = nn.Embedding(10, 4)
    before = table.weight.detach().clone()
    rows = TokenRows(table, [7, 0, 3, 7])
    tokens = torch.tensor([[7, 0], [3, 3]])
    assert torch.equal(rows(tokens), table(tokens))
    assert list(rows.state_dict()) == ["weight"]
    assert rows.weight.shape == (3, 4)
    rows(tokens).sum().backward()
    with torch.no_grad():
        rows.weight -= rows.weight.grad
    whole = rows.whole()
    changed = (whole.weight != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [0, 3, 7]
    assert torch.allclose(whole.weight[3], before[3] - 2)


def test_a_token_that_was_not_to_occur_is_an_error():
    with pytest.raises(IndexError):
        TokenRows(nn.Embedding(10, 4), [1])(torch.tensor([2]))
