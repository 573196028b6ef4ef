"""The Python interface on a tiny model: same numbers as the model itself, and clear errors."""

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data.transforms import ResizeShortestEdge
from PIL import Image

from fcclip import Segmentation, Vocabulary
from fcclip.files.images import UnreadableImageError
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.segmenter import PicturesFailedError, Segmenter
from tests.tiny import CLIP_DESCRIPTIONS, tiny_model, write_tiny_config

NAMES = "cat,kitten; forklift; sky=stuff"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model() -> FCCLIP:
    return tiny_model(MODEL__MASK_FORMER__TEST__OVERLAP_THRESHOLD=0.0)


@pytest.fixture
def segmenter(model: FCCLIP) -> Segmenter:
    segmenter = Segmenter(model, min_size=96, max_size=160)
    segmenter.set_vocabulary(NAMES)
    return segmenter


def picture(height: int = 75, width: int = 110, seed: int = 0) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return np.array(Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST))


def test_result_is_that_of_the_model(segmenter: Segmenter, model: FCCLIP) -> None:
    image = picture()
    result = segmenter.predict(image)
    resized = ResizeShortestEdge([96, 96], 160).get_transform(image).apply_image(image)
    tensor = torch.as_tensor(resized.astype("float32").transpose(2, 0, 1))
    expected = model([{"image": tensor, "height": 75, "width": 110}])[0]

    ids, records = expected["panoptic_seg"]
    assert result.panoptic is not None
    assert np.array_equal(result.panoptic, ids.numpy())
    assert [(segment.id, segment.category_id, segment.is_thing) for segment in result.segments] == [
        (record["id"], record["category_id"], record["isthing"]) for record in records
    ]
    assert result.semantic is not None
    assert np.array_equal(result.semantic, expected["sem_seg"].argmax(dim=0).numpy())
    instances = expected["instances"]
    assert result.instances is not None
    order = [place for place in (-instances.scores).argsort(stable=True) if instances.scores[place] >= 0.05]
    assert np.array_equal(result.instances.masks, instances.pred_masks[order].numpy())
    assert np.allclose(result.instances.scores, instances.scores[order].numpy())
    assert len(result.segments) > 0
    assert len(result.instances) > 0
    assert all(0 < segment.score <= 1 for segment in result.segments)
    assert result.random_weights


def test_a_segment_says_why(segmenter: Segmenter) -> None:
    result = segmenter.predict(picture())
    rows = segmenter.embed_text(["cat", "kitten", "forklift", "sky"])
    for segment in result.segments:
        assert np.array_equal(segment.mask, result.panoptic == segment.id)
        assert [score.score for score in segment.scores] == sorted((s.score for s in segment.scores), reverse=True)
        assert segment.scores[0].name == segment.name
        assert segment.scores[0].score == pytest.approx(segment.score, abs=1e-5)
        assert sum(score.in_vocabulary for score in segment.scores) == pytest.approx(1, abs=1e-5)
        assert segment.embedding is not None
        assert np.linalg.norm(segment.embedding) == pytest.approx(1, abs=1e-5)
        # CLIP's own probabilities are those of its embedding and the names; of a class the best name counts.
        scale = segmenter.model.backbone.clip_model.logit_scale.exp().clamp(max=100).item()
        logits = scale * rows @ segment.embedding
        logits = np.array([logits[:2].max(), logits[2], logits[3]])
        expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        for score in segment.scores:
            assert score.out_of_vocabulary == pytest.approx(expected[score.category_id], abs=1e-4)


def test_an_encoded_picture_is_asked_again_without_the_network(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture()
    expected = [segmenter.predict(image, vocabulary=names) for names in ("dog; sky=stuff", NAMES)]
    encoded = segmenter.encode(image)
    monkeypatch.setattr(segmenter.model.backbone, "forward", lambda *_: pytest.fail("the network ran again"))
    found = [segmenter.predict(encoded, vocabulary=names) for names in ("dog; sky=stuff", NAMES)]
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one.panoptic, other.panoptic)
        assert np.array_equal(one.semantic, other.semantic)
        assert one.vocabulary == other.vocabulary
    assert segmenter.vocabulary == Vocabulary.from_string(NAMES), "an argument is for one call"


def test_instances_come_best_first_and_the_threshold_can_be_lowered(segmenter: Segmenter) -> None:
    def scores() -> list[float]:
        found = segmenter.predict(picture()).instances
        assert found is not None
        return found.scores.tolist()

    some = scores()
    segmenter.instance_threshold = 0
    every = scores()
    assert every == sorted(every, reverse=True)
    assert some == [score for score in every if score >= 0.05]


def test_a_vocabulary_that_fails_leaves_the_old_one(segmenter: Segmenter, model: FCCLIP) -> None:
    with pytest.raises(ValueError, match="too long for CLIP"):
        segmenter.set_vocabulary("dog; " + "a b c d e f g h " * 12)
    assert segmenter.vocabulary == model.vocabulary == Vocabulary.from_string(NAMES)
    assert {segment.name for segment in segmenter.predict(picture()).segments} <= {"cat", "forklift", "sky"}


def test_threads_with_vocabularies_of_their_own(segmenter: Segmenter) -> None:
    image = picture()
    vocabularies = [f"class {index}; sky=stuff" for index in range(6)]
    expected = [segmenter.predict(image, vocabulary=names).to_dict() for names in vocabularies]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda names: segmenter.predict(image, vocabulary=names).to_dict(), vocabularies))
    assert found == expected


def test_a_stream_keeps_its_own_copy_of_a_frame(segmenter: Segmenter) -> None:
    """A camera fills one buffer again and again."""
    buffer = picture(seed=0)

    def frames() -> Iterator[np.ndarray]:
        for seed in range(3):
            buffer[:] = picture(seed=seed)
            yield buffer

    for seed, result in enumerate(segmenter.stream(frames(), batch_size=3)):
        assert np.array_equal(result.image, picture(seed=seed))


def test_one_bad_picture_leaves_the_others_their_results(segmenter: Segmenter, tmp_path: Path) -> None:
    with pytest.raises(PicturesFailedError, match=r"1 of 3 pictures failed, first number 2: .*none\.jpg") as failed:
        segmenter.predict([picture(), tmp_path / "none.jpg", picture(seed=1)], batch_size=2)
    assert [result is None for result in failed.value.results] == [False, True, False]
    told: dict[int, Exception] = {}
    stream = segmenter.stream([tmp_path / "none.jpg", picture()], on_error=told.__setitem__)
    assert [result is None for result in stream] == [True, False]
    assert isinstance(told[0], FileNotFoundError)


def test_a_segmenter_can_be_pickled(segmenter: Segmenter) -> None:
    copy = pickle.loads(pickle.dumps(segmenter))
    assert np.array_equal(copy.predict(picture()).panoptic, segmenter.predict(picture()).panoptic)


def test_every_kind_of_image(segmenter: Segmenter, tmp_path: Path) -> None:
    image = picture()
    Image.fromarray(image).save(tmp_path / "image.png")
    kinds = [image, Image.fromarray(image), tmp_path / "image.png", str(tmp_path / "image.png")]
    results = segmenter.predict(kinds)
    for result in results:
        assert np.array_equal(result.image, image)
        assert np.array_equal(result.semantic, results[0].semantic)
    assert np.array_equal(segmenter.predict(image).semantic, results[0].semantic)


def test_images_of_all_sizes_in_batches(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches without padding that a single image would not have, and so with the same results."""
    sizes = [(75, 110), (110, 75), (75, 109), (60, 60), (75, 110)]
    images = [picture(*size, seed) for seed, size in enumerate(sizes)]
    assert [segmenter.padded_size(image) for image in images] == [
        (96, 160), (160, 96), (96, 160), (96, 96), (96, 160),
    ]  # fmt: skip
    alone = [segmenter.predict(image) for image in images]
    batches = []
    backbone = segmenter.model.backbone
    forward = backbone.forward
    monkeypatch.setattr(backbone, "forward", lambda batch: batches.append(batch.shape) or forward(batch))
    batched = segmenter.predict(images, batch_size=3)
    assert [tuple(shape) for shape in batches] == [(3, 3, 96, 160), (1, 3, 160, 96), (1, 3, 96, 96)]
    for image, result, single in zip(images, batched, alone, strict=True):
        assert result.size == image.shape[:2]
        assert np.array_equal(result.image, single.image)
        assert (result.panoptic != single.panoptic).sum() <= 2, "pixels where two queries tie"
        assert (result.semantic != single.semantic).sum() <= 2
        assert np.allclose(np.sort(result.instances.scores), np.sort(single.instances.scores), rtol=1e-4, atol=1e-6)
        assert np.allclose([s.score for s in result.segments], [s.score for s in single.segments], rtol=1e-4)
    with pytest.raises(ValueError, match="at least 1"):
        segmenter.predict(images, batch_size=0)


def test_company_and_order_do_not_change_a_bit(segmenter: Segmenter) -> None:
    def bits(result: Segmentation) -> tuple[object, ...]:
        scores = tuple(segment.score for segment in result.segments)
        return result.panoptic.tobytes(), result.semantic.tobytes(), result.instances.scores.tobytes(), scores

    images = [picture(seed=seed) for seed in range(4)]
    four = [bits(result) for result in segmenter.predict(images, batch_size=4)]
    turned = [bits(result) for result in segmenter.predict(images[::-1], batch_size=4)]
    others = segmenter.predict([images[0], *(picture(seed=seed) for seed in (7, 8, 9))], batch_size=4)
    assert turned[::-1] == four
    assert bits(others[0]) == four[0]
    assert len(set(four)) == 4


def test_text_tower_leaves_memory_unless_asked_to_stay(tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path)
    for opts, is_held in (((), True), (("MODEL.FC_CLIP.RELEASE_TEXT_TOWER", "False"), False)):
        segmenter = Segmenter.from_config(config, opts)
        embedding = segmenter.model.backbone.clip_model.token_embedding
        before, address = embedding.weight.clone(), embedding.weight.data_ptr()
        segmenter.set_vocabulary(NAMES)
        assert (embedding.weight.data_ptr() != address) == is_held
        assert torch.equal(embedding.weight, before)


def test_stream_reads_no_further_than_asked(segmenter: Segmenter) -> None:
    read = []

    def images() -> Iterator[np.ndarray]:
        for seed in range(3):
            read.append(seed)
            yield picture(seed=seed)

    stream = segmenter.stream(images())
    next(stream)
    assert read == [0]


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (3, 5)])
def test_extreme_sizes(segmenter: Segmenter, size: tuple[int, int]) -> None:
    assert segmenter.predict(np.zeros((*size, 3), np.uint8)).size == size


def test_bgr_models_get_bgr(model: FCCLIP) -> None:
    image = picture()
    results = []
    for pixels, order in ((image, "RGB"), (image[..., ::-1], "BGR")):
        segmenter = Segmenter(model, 96, 160, order)
        segmenter.set_vocabulary(NAMES)
        results.append(segmenter.predict(pixels))
    assert np.array_equal(results[0].semantic, results[1].semantic)


def test_vocabulary_can_be_given_in_every_form(segmenter: Segmenter, tmp_path: Path) -> None:
    expected = Vocabulary.from_string(NAMES)
    (tmp_path / "names.txt").write_text("cat,kitten\nforklift\nsky=stuff\n")
    for form in (NAMES, ["cat,kitten", "forklift", "sky=stuff"], tmp_path / "names.txt", expected):
        segmenter.set_vocabulary(form)
        assert segmenter.vocabulary == expected
    with pytest.raises(ValueError, match="no classes"):
        segmenter.set_vocabulary("")
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        segmenter.set_vocabulary(tmp_path / "none.txt")


def test_names_are_encoded_when_they_are_set(segmenter: Segmenter, model: FCCLIP) -> None:
    with pytest.raises(ValueError, match="too long for CLIP"):
        segmenter.set_vocabulary("a b c d e f g h " * 12)
    segmenter.set_vocabulary("dog; cat")
    model.backbone.clip_model.transformer.register_forward_hook(lambda *_: pytest.fail("encoded again"))
    try:
        segmenter.predict(picture())
    finally:
        model.backbone.clip_model.transformer._forward_hooks.clear()


def test_results_follow_the_vocabulary(segmenter: Segmenter) -> None:
    segmenter.set_vocabulary("only this one=stuff")
    result = segmenter.predict(picture())
    assert {segment.name for segment in result.segments} <= {"only this one"}
    assert result.semantic is not None
    assert not result.semantic.any()


def test_a_vocabulary_is_needed(model: FCCLIP) -> None:
    with pytest.raises(RuntimeError, match="set the classes to look for first"):
        Segmenter(model, 96, 160).predict(picture())


def test_bad_images(segmenter: Segmenter, tmp_path: Path) -> None:
    for array in (np.zeros((6, 6, 5), np.uint8), np.full((4, 4, 3), 2.0), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="with pixels|from 0 to 1"):
            segmenter.predict(array)
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(UnreadableImageError, match=r"text\.jpg"):
        segmenter.predict(tmp_path / "text.jpg")
    with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
        segmenter.predict([tmp_path / "none.jpg"])


def test_from_config_with_saved_weights(tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path, MODEL__FC_CLIP__ALLOW_RANDOM_WEIGHTS=False)
    saved = tiny_model(seed=3)
    torch.save({"model": saved.state_dict()}, tmp_path / "tiny_convnext.pth")
    segmenter = Segmenter.from_config(config, ("INPUT.MIN_SIZE_TEST", "64"), weights=tmp_path / "tiny_convnext.pth")
    segmenter.set_vocabulary(NAMES)
    found = segmenter.predict(picture())
    assert not found.random_weights
    again = Segmenter.from_pretrained(tmp_path / "tiny_convnext.pth", opts=("INPUT.MIN_SIZE_TEST", "64"))
    again.set_vocabulary(NAMES)
    assert np.array_equal(again.predict(picture()).semantic, found.semantic)


def test_random_weights_must_be_asked_for(tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path, MODEL__FC_CLIP__ALLOW_RANDOM_WEIGHTS=False)
    with pytest.raises(RuntimeError, match="random weights"):
        Segmenter.from_config(config)
    segmenter = Segmenter.from_config(config, random_weights=True)
    assert segmenter.model.uses_random_weights


def test_random_weights_download_nothing(tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path, MODEL__WEIGHTS="missing.pth", MODEL__FC_CLIP__CLIP_PRETRAINED_WEIGHTS="openai")
    Segmenter.from_config(config, random_weights=True)
    with pytest.raises(FileNotFoundError, match=r"here\.pth"):
        Segmenter.from_config(config, ("MODEL.WEIGHTS", str(tmp_path / "here.pth")), random_weights=True)


def test_bad_configurations(tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path)
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        Segmenter.from_config(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match="has no value"):
        Segmenter.from_config(config, ("MODEL.WEIGHTS",))
    with pytest.raises(ValueError, match=r"MODEL\.NO_SUCH_KEY"):
        Segmenter.from_config(config, ("MODEL.NO_SUCH_KEY", "1"))
    (tmp_path / "broken.yaml").write_text("MODEL: [unclosed")
    with pytest.raises(ValueError, match=r"broken\.yaml"):
        Segmenter.from_config(tmp_path / "broken.yaml")


def test_a_gpu_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = write_tiny_config(tmp_path, MODEL__DEVICE="cuda")
    with pytest.raises(ValueError, match="no CUDA GPU"):
        Segmenter.from_config(config, device="cuda")
    assert Segmenter.from_config(config).model.device == torch.device("cpu"), "a configured GPU is a wish"


def test_tiny_description_is_there() -> None:
    assert CLIP_DESCRIPTIONS["convnext"].is_file()
