import pytest
import torch

from fcclip import MAFT_Plus, Segmenter, Vocabulary
from fcclip.speed.acceleration import accelerate_training
from tests.seeded import seed_by_name
from tests.tiny import tiny_cfg, tiny_model

MAFT = {"MODEL__META_ARCHITECTURE": "MAFT_Plus", "MODEL__cdt_params": [32, 4]}
ADAPTER = {"MODEL__MASK_ADAPTER__NAME": "MASKAdapterHead", "MODEL__MASK_ADAPTER__NUM_CHANNELS": 16}
IMAGES = [
    {"image": torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(seed)).float()}
    for seed in range(2)
]


@pytest.fixture(scope="module")
def model() -> MAFT_Plus:
    model = tiny_model(**MAFT)
    seed_by_name(model)
    model.set_vocabulary(Vocabulary.from_string("cat,kitten; sky=stuff; zebra"))
    return model


def test_names_are_changed_by_each_picture_alone(model) -> None:
    classes = model.vocabularies.test(model.device)
    with torch.no_grad():
        decoded = model.decode(torch.stack([model.normalize(x["image"]) for x in IMAGES]))
        text = model._with_void(classes)
        rows = model.text_of_images(text, decoded.places).embeddings
        together = model.classify(decoded, classes)
        alone = torch.cat([model.classify(decoded.image(index), classes) for index in range(2)])
    assert rows.shape == (2, 5, 32)  # four names and "none of these"
    assert not torch.allclose(rows[0], rows[1], atol=1e-3)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_clip_alone_chooses_the_class_and_the_trained_classifier_says_what_is_void(model) -> None:
    classes = model.vocabularies.test(model.device)
    with torch.no_grad():
        (encoded,) = model.encode(IMAGES[:1])
        in_vocab, out_vocab = model.classify_apart(encoded.decoded, classes)
        probabilities = model.classify(encoded.decoded, classes).softmax(dim=-1)
    void = in_vocab.softmax(dim=-1)[..., -1:]
    expected = torch.cat([out_vocab.softmax(dim=-1) * (1 - void), void], dim=-1)
    torch.testing.assert_close(probabilities, expected, atol=1e-5, rtol=1e-4)


def test_a_segmenter_encodes_once_and_is_asked_again() -> None:
    segmenter = Segmenter(tiny_model(**MAFT, **ADAPTER), min_size=64, max_size=96)
    picture = IMAGES[0]["image"].byte().permute(1, 2, 0).numpy()
    encoded = segmenter.encode(picture)
    for words in ("cat; sky=stuff", "zebra"):
        segmenter.set_vocabulary(words)
        once, anew = segmenter.predict(encoded), segmenter.predict(picture)
        assert (once.semantic == anew.semantic).all()


def test_a_resnet_is_refused() -> None:
    with pytest.raises(ValueError, match=r"MAFT\+ needs a ConvNeXt CLIP, and .* pools by attention; set MODEL"):
        tiny_model("resnet", **MAFT)


def test_a_tower_that_is_trained_is_not_copied_in_half_precision() -> None:
    half = {"MODEL__FC_CLIP__TRAINING_TOWER_DTYPE": "bfloat16"}
    with pytest.raises(ValueError, match="MAFT_Plus trains the image tower; leave .*TRAINING_TOWER_DTYPE at float32"):
        accelerate_training(tiny_model(**MAFT), tiny_cfg(**MAFT, **half))
    accelerate_training(tiny_model(**MAFT, **ADAPTER), tiny_cfg(**MAFT, **ADAPTER, **half))
