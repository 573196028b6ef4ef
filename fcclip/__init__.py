"""Open-vocabulary segmentation with one CLIP.

The names of this package are in `fcclip.public`, which is imported when one of them is first used. It registers the
models and datasets with Detectron2; so that `import fcclip` is enough for that, it is also imported when Detectron2 is.
What needs neither PyTorch nor Detectron2 (the command's help, `fcclip.export.Runtime`) does without both.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fcclip.registration import register_with_detectron2

if TYPE_CHECKING:
    from fcclip.public import *  # noqa: F403
    from fcclip.public import __all__  # noqa: F401
else:

    def __getattr__(name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        public = importlib.import_module("fcclip.public")
        if name == "__all__" or name in public.__all__:
            return getattr(public, name)
        if name in globals():  # a module of the package, which has been imported along
            return globals()[name]
        raise AttributeError(f"module 'fcclip' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *importlib.import_module("fcclip.public").__all__})


register_with_detectron2()
