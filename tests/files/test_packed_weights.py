from pathlib import Path

import torch
from safetensors.torch import save_file

from fcclip.files.checkpoints import read_state_dict
from fcclip.files.packed_weights import pack_rows, unpack_rows


def test_kept_rows_come_back_and_the_others_are_zero(tmp_path: Path):
    state = {"table": torch.randn(1000, 4), "other": torch.randn(3)}
    packed = pack_rows(state, "table", {7, 3, 999})
    assert packed["table"].shape == (3, 4)
    save_file(packed, tmp_path / "packed.safetensors")
    for unpacked in (unpack_rows(packed), read_state_dict(tmp_path / "packed.safetensors")):
        assert unpacked.keys() == state.keys()
        assert torch.equal(unpacked["other"], state["other"])
        kept = torch.tensor([3, 7, 999])
        assert torch.equal(unpacked["table"][kept], state["table"][kept])
        assert unpacked["table"].any(dim=1).nonzero()[:, 0].tolist() == kept.tolist()


def test_a_state_without_packed_tables_stays_as_it_is():
    state = {"table": torch.randn(5, 4)}
    assert unpack_rows(state) == state
