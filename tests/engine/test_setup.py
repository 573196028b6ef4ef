"""The command line and the configuration: Detectron2's flags, and mistakes explained."""

from pathlib import Path

import pytest
import torch

from fcclip.engine.arguments import argument_parser
from fcclip.engine.setup import check_places, load_config
from tests.tiny import PUBLISHED_CONFIGS, REPOSITORY

CONFIG = str(PUBLISHED_CONFIGS / "fcclip_convnext_large_eval_ade20k.yaml")


def parse(*words):
    return argument_parser().parse_args(["--config-file", CONFIG, *words])


def load(*words):
    return load_config(parse("MODEL.DEVICE", "cpu", *words))


def test_detectron2s_flags():
    machines = ["--num-gpus", "8", "--num-machines", "2", "--machine-rank", "1", "--dist-url", "tcp://a:1"]
    args = parse(*machines, "--resume", "--eval-only", "SOLVER.MAX_ITER", "10")
    assert (args.num_gpus, args.num_machines, args.machine_rank, args.dist_url) == (8, 2, 1, "tcp://a:1")
    assert args.resume
    assert args.eval_only
    assert not args.dry_run
    assert args.opts == ["SOLVER.MAX_ITER", "10"]
    assert parse().dist_url.startswith("tcp://127.0.0.1:")


def test_the_command_line_wins_over_the_file():
    cfg = load("SOLVER.MAX_ITER", "10", "DATASETS.TEST", "('a', 'b')")
    assert (cfg.SOLVER.MAX_ITER, cfg.DATASETS.TEST) == (10, ("a", "b"))
    assert cfg.SOLVER.IMS_PER_BATCH == 16
    assert cfg.is_frozen()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["SOLVER.MAX_ITERS", "10"], r"no key SOLVER\.MAX_ITERS; did you mean SOLVER\.MAX_ITER\?"),
        (["SOLVER.MAX_ITER", "many"], r'SOLVER\.MAX_ITER is "many"; it must be a whole number'),
        (["SOLVER.MAX_ITER"], "has no value"),
        (["NOTHING", "1"], "no key NOTHING"),
        (["MODEL.META_ARCHITECTURE", "FCLIP"], "choose one of .*FCCLIP"),
    ],
)
def test_wrong_keys_and_values_are_explained(words, message):
    with pytest.raises(ValueError, match=message):
        load(*words)


def test_a_file_that_is_no_yaml_is_explained(tmp_path):
    (tmp_path / "broken.yaml").write_text("MODEL: [")
    with pytest.raises(ValueError, match=r"broken\.yaml, line 1: while parsing a flow node"):
        load_config(argument_parser().parse_args(["--config-file", str(tmp_path / "broken.yaml")]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_explained():
    with pytest.raises(ValueError, match="finds no GPU; add MODEL.DEVICE cpu"):
        load_config(parse())


def test_a_missing_file_is_named():
    args = argument_parser().parse_args(["--config-file", "configs/gone.yaml"])
    with pytest.raises(FileNotFoundError, match=r"no configuration file configs/gone\.yaml"):
        load_config(args)


def check(*words, config=CONFIG):
    args = argument_parser().parse_args(["--config-file", config, *words])
    check_places(load_config(args), args)


SMALL = str(REPOSITORY / "configs" / "panoshapes" / "fcclip_small.yaml")


def test_a_missing_clip_is_told_at_the_start_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no CLIP weight file output/panoshapes_clip/clip\.saf.*; train it"):
        check("--dry-run", "MODEL.DEVICE", "cpu", config=SMALL)
    whole = str(REPOSITORY / "fcclip" / "assets" / "panoshapes" / "fcclip_small.safetensors")
    for key in ("MODEL.WEIGHTS", "MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS"):
        check("--dry-run", "MODEL.DEVICE", "cpu", key, whole, config=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_missing_weights_do_not_blame_the_clip(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no weight file .*tyop\.pth"):
        check("--dry-run", "MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", str(tmp_path / "tyop.pth"), config=SMALL)


def test_the_mask_generator_that_ovrcoat_begins_with_must_be_there(tmp_path):
    small = str(REPOSITORY / "fcclip" / "assets" / "panoshapes" / "fcclip_small.safetensors")
    begin = ["--dry-run", "MODEL.DEVICE", "cpu", "MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS", small]
    begin += ["MODEL.META_ARCHITECTURE", "OVRCOAT", "MODEL.OVRCOAT.SEM_SEG_WEIGHTS"]
    gone = str(tmp_path / "gone.pth")
    with pytest.raises(FileNotFoundError, match=r"no mask generator .*gone\.pth to begin with .*; set TRAIN\.USE_PRE"):
        check(*begin, gone, config=SMALL)
    check(*begin, "zoo:panoshapes", config=SMALL)
    check(*begin, gone, "TRAIN.USE_PRETRAINED_SEG_HEAD_WEIGHTS", "False", config=SMALL)
    check(*begin, gone, "MODEL.WEIGHTS", small, config=SMALL)


@pytest.mark.parametrize("trace", ["last_checkpoint", "model_0000004.pth", "metrics.json"])
def test_a_folder_with_a_training_is_not_used_for_another_one(tmp_path, trace):
    (tmp_path / trace).write_text("")
    options = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path)]
    with pytest.raises(ValueError, match=rf"holds a training already \({trace}\); go on with it by --resume, or"):
        check(*options)
    for mode in ("--resume", "--eval-only", "--dry-run"):
        check(mode, *options)


def test_an_output_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="nothing can be written to the folder"):
        check("MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "file" / "output"))


def test_a_resumed_training_does_not_need_what_it_began_with(tmp_path):
    (tmp_path / "last_checkpoint").write_text("model_0000004.pth")
    options = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path), "MODEL.WEIGHTS", "gone.pth"]
    assert load_config(parse("--resume", *options)).MODEL.WEIGHTS == ""
    assert load_config(parse(*options)).MODEL.WEIGHTS == "gone.pth"


def test_weights_by_name_become_a_file():
    assert Path(load("MODEL.WEIGHTS", "zoo:panoshapes").MODEL.WEIGHTS).is_file()
    with pytest.raises(FileNotFoundError, match=r"fetch it by hand from .*HVision-NKU.* and save it as"):
        load("MODEL.WEIGHTS", "zoo:cascade_clip_voc12_inductive")
    with pytest.raises(ValueError, match='no model "nonesuch"'):
        load("MODEL.WEIGHTS", "zoo:nonesuch")
