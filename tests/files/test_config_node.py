"""A configuration is data, and a mistake in it is one sentence before anything has changed."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from detectron2.config import CfgNode
from detectron2.config import get_cfg as detectron2_cfg
from detectron2.projects.deeplab import add_deeplab_config

import fcclip
from fcclip.files.config_node import MAX_FILES, ConfigError, SafeNode, UnknownKeyError

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return to


def published_way() -> CfgNode:
    cfg = detectron2_cfg()
    add_deeplab_config(cfg)
    fcclip.add_maskformer2_config(cfg)
    fcclip.add_fcclip_config(cfg)
    return cfg


@pytest.mark.parametrize("make", [fcclip.get_cfg, published_way, lambda: fcclip.get_cfg().clone()])
@pytest.mark.parametrize("through_base", [False, True])
@pytest.mark.parametrize("unsafe", [{}, {"allow_unsafe": True}])
def test_code_in_a_file_never_runs(
    tmp_path: Path, write: Write, make: Callable[[], CfgNode], through_base: bool, unsafe: dict[str, bool]
) -> None:
    path = write("a.yaml", f"X: !!python/object/apply:os.system ['touch {tmp_path}/RAN']\n")
    if through_base:
        path = write("b.yaml", "_BASE_: a.yaml\n")
    with pytest.raises(ValueError, match=r"a\.yaml, line 1: the tag !!python/object/apply:os\.system"):
        make().merge_from_file(str(path), **unsafe)
    with pytest.raises(ValueError, match="the tag"):
        make().load_yaml_with_base(str(path), allow_unsafe=True)
    with path.open() as file, pytest.raises(ValueError, match="the tag|can only stand at the top"):
        make().merge_from_other_cfg(make().load_cfg(file))
    assert not (tmp_path / "RAN").exists()


def test_python_files_are_not_run(tmp_path: Path, write: Write) -> None:
    path = write("a.py", f"open({str(tmp_path / 'RAN')!r}, 'w')\ncfg = dict()\n")
    with path.open() as file, pytest.raises(ConfigError, match="is a Python program"):
        fcclip.get_cfg().load_cfg(file)
    assert not (tmp_path / "RAN").exists()


def test_files_build_on_others(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write("base.yaml", "SOLVER: {MAX_ITER: 7, IMS_PER_BATCH: 2}\n")
    write("home.yaml", "SOLVER: {BASE_LR: 0.5, MAX_ITER: 8}\n")
    path = write("sub/top.yaml", '_BASE_: ["../base.yaml", "~/home.yaml"]\nSOLVER: {IMS_PER_BATCH: 3}\n')
    cfg = fcclip.get_cfg()
    cfg.merge_from_file(str(path))
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR, cfg.SOLVER.IMS_PER_BATCH) == (8, 0.5, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; a configuration has keys and values"),
        ("- 1", "is a list; a configuration has keys"),
        ("text", "is text; a configuration has keys"),
        ("1: 2", "the key 1 is not a word"),
        ("MODEL: {1: 2}", r"the key MODEL\.1 is not a word"),
        ("VERSION: two", "VERSION is 'two'; a configuration has version 2"),
        ("VERSION: 3", "VERSION is 3"),
        ("_BASE_: 5", "_BASE_ is 5; name a YAML file"),
        ("_BASE_:", "_BASE_ is empty; name a YAML file"),
        ("_BASE_: ''", "_BASE_ is empty; name a YAML file"),
        ("_BASE_: [1]", "_BASE_ is 1; name a YAML file"),
        ("_BASE_: http://host/a.yaml", "_BASE_ is the address http://host/a.yaml; fetch the file"),
        ("_BASE_: file:///a.yaml", "_BASE_ is the address"),
        ("_BASE_: a.yaml", "leads back to the file itself"),
        ("_BASE_: .", "which is no file"),
        ("_BASE_: none.yaml", "which is no file; check the path"),
        ("MODEL: {_BASE_: a.yaml}", "_BASE_ can only stand at the top of a file"),
        ("MODEL: [1, 2]", r"MODEL is \[1, 2\]; it is a section of keys, like MODEL\."),
        ("MODEL:", "MODEL is empty; it is a section of keys"),
        ("MODEL: {WEIGHTS: {a: 1}}", "MODEL.WEIGHTS is .*; it must be text"),
        ("MODEL: {WEIGHTS: }", "MODEL.WEIGHTS is empty; it must be text"),
        ("SOLVER: {MAX_ITER: many}", 'SOLVER.MAX_ITER is "many"; it must be a whole number'),
        ("SOLVER: {MAX_ITER: yes}", "SOLVER.MAX_ITER is True; it must be a whole number"),
        ("SOLVER: {BASE_LR: 1}", r"SOLVER.BASE_LR is 1; it must be a number with a point; write 1\.0"),
        ("SOLVER: {BASE_LR: .nan}", "SOLVER.BASE_LR is nan, which is no number"),
        ("SOLVER: {BASE_LR: 1e999}", "SOLVER.BASE_LR is inf, which is no number"),
        ("MODEL: {PIXEL_MEAN: [a, b, c]}", 'MODEL.PIXEL_MEAN has "a" in it; it must be a list of numbers'),
        ("OUTPUT_DIR: 2026-11-21", "OUTPUT_DIR is a date; put quotes around 2026-11-21"),
        ("SOLVER: {OPTIMIZER: ADAM}", 'SOLVER.OPTIMIZER is "ADAM"; choose one of ADAMW, SGD'),
        ("MODEL: {ZERO_SHOT: {SETTING: [1]}}", r"MODEL.ZERO_SHOT.SETTING is \[1\]; it must be text"),
        (
            "MODEL: {FC_CLIP: {EMBED_DIMS: 3}}",
            r"no key MODEL.FC_CLIP.EMBED_DIMS; did you mean MODEL.FC_CLIP.EMBED_DIM\?",
        ),
    ],
)
def test_mistakes_are_one_sentence_with_file_and_key(write: Write, text: str, message: str) -> None:
    path = write("a.yaml", text)
    cfg = fcclip.get_cfg()
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        cfg.merge_from_file(str(path))
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert cfg == fcclip.get_cfg()


def test_the_file_of_a_mistake_is_named(write: Write) -> None:
    base = write("base.yaml", "SOLVER: {MAX_ITER: many}\n")
    path = write("top.yaml", "_BASE_: base.yaml\n")
    with pytest.raises(ConfigError) as error:
        fcclip.get_cfg().merge_from_file(path)
    assert str(error.value).startswith(f"{base}: SOLVER.MAX_ITER")


def test_files_that_name_each_other_are_refused(write: Write) -> None:
    first = write("a.yaml", "_BASE_: b.yaml\n")
    write("b.yaml", "_BASE_: a.yaml\n")
    with pytest.raises(ConfigError, match="leads back to the file itself"):
        fcclip.get_cfg().merge_from_file(first)
    for level in range(8):  # 3 ** 8 readings
        write(f"c{level}.yaml", f"_BASE_: [{', '.join([f'c{level + 1}.yaml'] * 3)}]\n")
    write("c8.yaml", "SEED: 1\n")
    with pytest.raises(ConfigError, match="more than 50 files"):
        fcclip.get_cfg().merge_from_file(write("c.yaml", "_BASE_: c0.yaml\n"))


def test_addresses_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="http://host/a.yaml is an address"):
        fcclip.get_cfg().merge_from_file("http://host/a.yaml")
    with pytest.raises(FileNotFoundError, match="there is no configuration file"):
        fcclip.get_cfg().merge_from_file(str(tmp_path / "none.yaml"))


def test_a_file_is_merged_as_a_whole_or_not_at_all(write: Write) -> None:
    cfg = fcclip.get_cfg()
    with pytest.raises(UnknownKeyError, match="there is no key TYPO"):
        cfg.merge_from_file(write("a.yaml", "SEED: 5\nTYPO: 1\n"))
    with pytest.raises(KeyError):
        cfg.merge_from_list(["SEED", 5, "TYPO", 1])
    with pytest.raises(ConfigError):
        cfg.merge_from_other_cfg(SafeNode({"SEED": 5, "SOLVER": {"OPTIMIZER": "x"}}))
    assert cfg.SEED == -1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["SEED"], "pairs of key and value, but 'SEED' has no value"),
        (["SEED", "1", "--dry-run"], "--dry-run stands behind pairs of key and value; write flags before them"),
        (["SEED", "1", "--num-gpus", "2"], "--num-gpus stands behind"),
        (["MODEL", "x"], 'MODEL is "x"; it is a section'),
        (["MODEL", {"WEIGHTS": "x"}], "MODEL is given as a mapping"),
        (["MODEL.FC_CLIP.INFERENCE_DTYPE", "half"], "choose one of float32, bfloat16, float16, int8"),
        (["MODEL.WEIGHTS.X", "a"], "MODEL.WEIGHTS is .*it must be text"),
        (["SOLVER.MAX_ITER", "(" * 300], "it must be a whole number"),
        (["_BASE_", "a"], "_BASE_ can only stand"),
    ],
)
def test_options_are_checked_alike(options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fcclip.get_cfg().merge_from_list(options)


def test_the_node_serves_as_detectron2s(write: Write) -> None:
    cfg = fcclip.get_cfg()
    cfg.merge_from_list(["SOLVER.BASE_LR", "1e-4", "DATASETS.TEST", "('a', 'b')", "MODEL.PIXEL_MEAN", "[1, 2, 3]"])
    assert (cfg.SOLVER.BASE_LR, cfg.DATASETS.TEST, cfg.MODEL.PIXEL_MEAN) == (1e-4, ("a", "b"), [1, 2, 3])
    again = fcclip.get_cfg()
    again.merge_from_file(write("dump.yaml", cfg.dump()))
    assert yaml.safe_load(again.dump()) == yaml.safe_load(cfg.dump())
    assert pickle.loads(pickle.dumps(cfg)) == cfg
    copy = cfg.clone()
    copy.freeze()
    with pytest.raises(AttributeError):
        copy.SEED = 1
    copy.defrost()
    copy.SEED = 1
    assert cfg.SEED == -1
    assert isinstance(copy.MODEL, SafeNode)
    loaded = cfg.load_cfg("SEED: 4")
    cfg.merge_from_other_cfg(loaded)
    assert cfg.SEED == 4


def test_files_of_detectron2s_first_version_are_renamed(write: Write) -> None:
    cfg = fcclip.get_cfg()
    cfg.merge_from_file(write("old.yaml", "MODEL: {WEIGHT: a.pth}\n"))
    assert cfg.MODEL.WEIGHTS == "a.pth"


def test_a_pile_of_files_that_name_each_other_ends(write: Write) -> None:
    write("plain.yaml", "SEED: 1\n")
    path = write("top.yaml", f"_BASE_: [{', '.join(['plain.yaml'] * MAX_FILES)}]\n")
    with pytest.raises(ConfigError, match=r"plain\.yaml: more than 50 files are named by _BASE_"):
        fcclip.get_cfg().merge_from_file(str(path))
