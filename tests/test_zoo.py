"""Trained models are found by path or name, and what is missing is named."""

import io
import json
import re
from functools import partial
from pathlib import Path

import gdown
import open_clip
import pytest
import torch
from detectron2.modeling import build_model

from fcclip import get_cfg, load_weights, zoo
from fcclip.clip.loading import missing_clip
from fcclip.config import load_cfg
from fcclip.engine.checkpoint import TrainingCheckpointer
from fcclip.files.download import DownloadError
from fcclip.files.folders import configs_folder
from fcclip.files.sources import read_source
from fcclip.mmseg.keys import to_published
from fcclip.zoo import find_pretrained, published_models, resolve_weights, weights_folder
from tests.files.drive import Drive, replace_transport
from tests.shared import SHARED, needs_shared
from tests.tiny import tiny_cfg, tiny_model
from tests.zero_shot import zero_shot_model

ARCHITECTURES = {
    "FC-CLIP": "FCCLIP",
    "Mask-Adapter on FC-CLIP": "FCCLIP",
    "Mask-Adapter on MAFT+": "MAFT_Plus",
    "MAFT+": "MAFT_Plus",
    "OVRCOAT": "OVRCOAT",
}
BY_HAND = re.compile(r"fetch (?:it|them) by hand from (\S+) and save (?:it|them) as ([^;\s]+)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model.pth", "model.yaml"):
        (tmp_path / name).touch()
    return tmp_path


def test_file_and_folder(folder: Path) -> None:
    for given in (folder, folder / "model.pth", str(folder)):
        found = find_pretrained(given)
        assert (found.config, found.weights) == (folder / "model.yaml", folder / "model.pth")


def test_configuration_of_the_same_name_wins(folder: Path) -> None:
    (folder / "other.yaml").touch()
    assert find_pretrained(folder / "model.pth").config.name == "model.yaml"
    (folder / "model.yaml").unlink()
    assert find_pretrained(folder / "model.pth").config.name == "other.yaml"


def test_missing_and_ambiguous_files(folder: Path) -> None:
    (folder / "second.safetensors").touch()
    with pytest.raises(ValueError, match=r"model\.pth, second\.safetensors"):
        find_pretrained(folder)
    (folder / "model.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks the configuration of model\.pth"):
        find_pretrained(folder / "model.pth")
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="lacks the checkpoint"):
        find_pretrained(folder / "empty")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*none\.pth"):
        find_pretrained(folder / "none.pth")


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match="fcclip_convnext_large, fcclip_r50"):
        find_pretrained("fcclip_convnext_larg")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def drive(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Drive:
    """Google Drive with a tiny published checkpoint of ZegCLIP."""
    buffer = io.BytesIO()
    torch.save({"meta": {}, "state_dict": to_published(zero_shot_model("ZegCLIP", seed=3).state_dict())}, buffer)
    drive = Drive(buffer.getvalue())
    replace_transport(monkeypatch, drive)
    monkeypatch.setattr("gdown.download", partial(gdown.download, use_cookies=False))
    return drive


def test_every_published_model_has_a_configuration_sources_and_a_licence() -> None:
    models = published_models()
    assert next(iter(models)) == "fcclip_convnext_large"
    assert {model.system for model in models.values()} == {*ARCHITECTURES, "ZegCLIP", "Cascade-CLIP"}
    for name, model in models.items():
        cfg = get_cfg()
        cfg.merge_from_file(str(configs_folder() / model.config))
        assert ARCHITECTURES.get(model.system, model.system.replace("-", "")) == cfg.MODEL.META_ARCHITECTURE
        assert bool(cfg.MODEL.MASK_ADAPTER.NAME) == model.system.startswith("Mask-Adapter")
        if model.system in ARCHITECTURES:
            clip = cfg.MODEL.FC_CLIP
            assert open_clip.get_model_config(clip.CLIP_MODEL_NAME)["embed_dim"] == clip.EMBED_DIM
            assert clip.CLIP_PRETRAINED_WEIGHTS in open_clip.list_pretrained_tags_by_model(clip.CLIP_MODEL_NAME)
        assert model.sources
        assert model.licence
        assert model.name == name


@needs_shared
def test_every_runnable_checkpoint_of_the_recorded_facts_is_there() -> None:
    for row in json.loads((SHARED / "facts/checkpoints.json").read_text())["checkpoints"]:
        model = published_models().get(row["name"])
        if row["system"] not in (*ARCHITECTURES, "ZegCLIP"):
            assert model is None
            continue
        assert model is not None
        assert model.sources == tuple(read_source(source) for source in row["sources"])
        assert model.expected.digest == (row["sha256"] and f"sha256:{row['sha256']}")
        assert model.licence == row["licence"]
        for key, value in row.get("published", {}).items():
            dataset, _, metric = key.rpartition(" ") if isinstance(value, float) else (key, "", "")
            figures = {metric: value} if isinstance(value, float) else value
            assert figures.items() <= model.published[dataset].items()


def test_a_named_model_is_fetched_when_it_is_asked_for(drive: Drive, capsys: pytest.CaptureFixture[str]) -> None:
    name = "fcclip_r50"
    assert not weights_folder().exists()
    found = find_pretrained(name)
    assert found.weights == weights_folder() / "fcclip_r50.pth"
    assert found.weights.read_bytes() == drive.content
    assert "fetching fcclip_r50 (licence: Apache-2.0; https://github.com/bytedance/fc-clip)" in capsys.readouterr().err
    assert found.config == configs_folder() / published_models()[name].config
    assert resolve_weights(f"zoo:{name}") == found.weights
    assert len(drive.ranges) == 1


def test_a_checkpoint_that_was_put_there_by_hand_is_taken(cache: Path) -> None:
    weights = weights_folder() / "fcclip_r50.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    assert find_pretrained("fcclip_r50").weights == weights


def test_a_checkpoint_of_mmsegmentation_is_converted(drive: Drive) -> None:
    weights = resolve_weights("zoo:zegclip_voc12_inductive")
    assert weights == weights_folder() / "zegclip_voc12_inductive.pth"
    expected, loaded = zero_shot_model("ZegCLIP", seed=3).state_dict(), zero_shot_model("ZegCLIP", seed=4)
    load_weights(loaded, "zoo:zegclip_voc12_inductive")
    different = [key for key, tensor in loaded.state_dict().items() if not torch.equal(tensor, expected[key])]
    assert different == ["backbone.clip_model.logit_scale"]  # which the published layout lacks, and nothing uses
    (weights_folder() / "published" / "zegclip_voc12_inductive.pth").unlink()
    assert resolve_weights("zoo:zegclip_voc12_inductive") == weights
    assert len(drive.ranges) == 1


@pytest.mark.parametrize("name", ["fcclip_r50", "fcclip_convnext_large"])
def test_without_a_network_both_files_of_a_model_are_named(
    drive: Drive, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the message says is done, file by file, until nothing is missing."""
    monkeypatch.setattr("fcclip.clip.published_weights.try_to_load_from_cache", lambda *_: None)
    drive.offline = True
    with pytest.raises(DownloadError) as refused:
        find_pretrained(name)
    checkpoint, clip = re.findall(
        r"fetch (?:it|them) by hand from (\S+) and save (?:it|them) as ([^;\s]+)", str(refused.value)
    )
    assert checkpoint[0].startswith("https://drive.google.com/")
    assert clip[0].startswith("https://")  # open_clip before 3 has ResNet-50 from another host
    cfg = load_cfg(configs_folder() / published_models()[name].config).MODEL.FC_CLIP
    assert missing_clip(cfg.CLIP_MODEL_NAME, cfg.CLIP_PRETRAINED_WEIGHTS)
    for _, file in (checkpoint, clip):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_bytes(b"weights")
    assert find_pretrained(name).weights == Path(checkpoint[1])
    assert not missing_clip(cfg.CLIP_MODEL_NAME, cfg.CLIP_PRETRAINED_WEIGHTS)


@pytest.mark.parametrize("name", ["maftp_convnext_base", "zegclip_voc12_fully"])
def test_of_a_model_that_has_its_clip_one_file_is_named(drive: Drive, name: str) -> None:
    drive.offline = True
    with pytest.raises(DownloadError, match="fetch it by hand") as refused:
        find_pretrained(name)
    assert "CLIP, " not in str(refused.value)


def test_what_cannot_be_fetched_says_where_it_goes(drive: Drive) -> None:
    drive.over_quota = True
    with pytest.raises(DownloadError, match="drive.google.com") as error:
        find_pretrained("fcclip_r50")
    assert str(weights_folder() / "fcclip_r50.pth") in str(error.value)
    with pytest.raises(DownloadError, match="HVision-NKU/Cascade-CLIP.* save it as") as error:
        find_pretrained("cascade_clip_voc12_inductive")
    assert str(weights_folder() / "published" / "cascade_clip_voc12_inductive.pth") in str(error.value)


def test_weights_of_a_configuration_by_name(cache: Path) -> None:
    assert resolve_weights("some/path.pth") == Path("some/path.pth")
    assert resolve_weights("zoo:panoshapes").is_file()
    with pytest.raises(
        ValueError,
        match=r'no model "nonesuch" in MODEL.WEIGHTS .* one of cascade_clip_small, panoshapes',
    ):
        resolve_weights("zoo:nonesuch")


def test_a_model_is_built_with_weights_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "tiny.yaml").touch()
    model = tiny_model(seed=5)
    torch.save({"model": model.state_dict()}, tmp_path / "tiny" / "tiny.pth")
    built = build_model(tiny_cfg(MODEL__WEIGHTS="zoo:tiny", MODEL__FC_CLIP__ALLOW_RANDOM_WEIGHTS=False))
    TrainingCheckpointer(built, str(tmp_path)).resume_or_load("zoo:tiny", resume=False)
    assert not built.uses_random_weights
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in built.state_dict().items())


def test_shipped_models_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small").mkdir()
    for name in ("model.safetensors", "model.yaml", "README.md"):
        (tmp_path / "small" / name).touch()
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path)
    assert find_pretrained("small").weights == tmp_path / "small" / "model.safetensors"
    with pytest.raises(ValueError, match="one of small, fcclip_convnext_large"):
        find_pretrained("nonesuch")
