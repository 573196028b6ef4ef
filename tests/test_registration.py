"""Models and datasets are registered with Detectron2 in whatever order things are imported, and not before."""

import subprocess
import sys

import pytest

from tests.tiny import REPOSITORY

KNOWN = """
from detectron2.data import DatasetCatalog
from detectron2.modeling import META_ARCH_REGISTRY
assert "FCCLIP" in META_ARCH_REGISTRY and "openvocab_ade20k_panoptic_val" in DatasetCatalog.list()
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "first",
    [
        "import fcclip",
        "import detectron2.config; import fcclip",
        "from fcclip.config import add_fcclip_config; import fcclip",
        "import fcclip, detectron2.engine",
    ],
)
def test_the_registries_are_filled(first: str) -> None:
    run(first + KNOWN)


def test_the_package_alone_is_light_and_has_all_its_names() -> None:
    run(
        "import sys, fcclip\n"
        "assert not {'torch', 'detectron2', 'cv2'} & set(sys.modules)\n"
        "from fcclip import *\n"
        "assert Segmenter is fcclip.Segmenter and 'load_weights' in dir(fcclip)\n"
        "assert fcclip.config.get_cfg is get_cfg\n"
        "assert not hasattr(fcclip, 'nonsense')\n"
    )
