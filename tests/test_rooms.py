"""The rooms of the package, from the ground up: an import goes down, never up and never in a circle."""

import ast
from collections.abc import Iterator

from tests.tiny import REPOSITORY

# A room may import what stands in the lines above its own, and nothing else.
FLOORS = [
    {"files", "drawing", "inference", "registration"},
    {"config", "flags", "vocabulary"},
    {"data", "text"},
    {"clip", "formats"},
    {"mmseg", "modeling", "segmentation", "evaluation"},
    {"weights", "zoo"},
    {"meta_arch"},
    {"speed", "video", "export"},
    {"engine", "segmenter"},
    {"serving", "batch"},
    {"public"},
    {"commands"},
    {"__main__", "__init__"},
]
ALONE = {"install_detectron2", "assets"}


def imports() -> Iterator[tuple[str, str]]:
    """(importing module, room of what it imports), of all imports within the package."""
    for path in sorted((REPOSITORY / "fcclip").rglob("*.py")):
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                parts = name.split(".")
                if parts[0] == "fcclip" and len(parts) > 1:
                    yield module, parts[1]


def test_no_import_runs_back_up() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    upward = [
        f"{module} imports {room}"
        for module, room in imports()
        if (own := module.split(".")[1]) != room and own not in ALONE and floor[room] >= floor[own]
    ]
    assert not upward


def test_every_room_has_a_floor() -> None:
    package = REPOSITORY / "fcclip"
    rooms = {path.parent.relative_to(package).parts[0] for path in package.glob("*/__init__.py")}
    rooms |= {path.stem for path in package.glob("*.py")}
    assert rooms == set().union(*FLOORS) | (ALONE - {"assets"})
