"""Register the models and datasets with Detectron2 as soon as that is imported, without importing it for that.

Detectron2 finds models and datasets by name, in registries. Who writes `import fcclip` and asks Detectron2 for one of
ours must find it; who never imports Detectron2 must not wait for it, or even have it.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

WATCHED = ("detectron2", "fcclip")
REGISTERING = "fcclip.public"  # the module whose import registers
NO_DETECTRON2 = (
    "fcclip needs Detectron2, which is not on the package index; install it with: python -m fcclip.install_detectron2"
)


def register_with_detectron2() -> None:
    """Register now if Detectron2 is there, else when the first import of it has ended."""
    # fvcore, which Detectron2 imports, scripts two functions at import; nobody who uses this package can change that.
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated", category=FutureWarning)
    if sys.modules.get("detectron2") is not None:
        importlib.import_module(REGISTERING)
    elif not any(isinstance(finder, RegisteringFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, RegisteringFinder())


class RegisteringFinder:
    """Leaves all finding to the others, but sees when modules of Detectron2 and of this package have been imported.

    The registering module imports both, so it has to wait until none of them is half imported.
    """

    def __init__(self) -> None:
        self._importing = 0

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """As the import system calls it."""
        if name.partition(".")[0] not in WATCHED:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                self._watch(spec)
                return spec
        return None

    def _watch(self, spec: ModuleSpec) -> None:
        loader: Any = spec.loader
        run: Callable[[ModuleType], None] | None = getattr(loader, "exec_module", None)
        if run is None:
            return

        def run_and_register(module: ModuleType) -> None:
            self._importing += 1
            try:
                run(module)
            finally:
                self._importing -= 1
            if not self._importing and sys.modules.get("detectron2") is not None and self in sys.meta_path:
                sys.meta_path.remove(self)
                importlib.import_module(REGISTERING)

        loader.exec_module = run_and_register
