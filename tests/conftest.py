import os

import pytest
import torch

# The models of the tests are tiny: more threads would wait for each other, the more so beside other test processes.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's cache folder out of the tests, also of the commands that they start."""
    os.environ["FCCLIP_CACHE"] = str(tmp_path_factory.mktemp("cache"))
