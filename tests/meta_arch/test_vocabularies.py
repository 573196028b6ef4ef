from dataclasses import replace

import pytest
import torch

from fcclip import FCCLIP, Vocabulary
from fcclip.meta_arch.vocabularies import NAMED_WEIGHT, TRAINED_WEIGHT
from tests.seeded import seed_by_name
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model() -> FCCLIP:
    model = tiny_model()
    seed_by_name(model)
    return model


def encode(model: FCCLIP, text: str):
    return model.vocabularies.encode(Vocabulary.from_string(text))


def test_without_negatives_there_is_no_contest(model: FCCLIP) -> None:
    assert encode(model, "cat; dog").contest is None


def test_named_negatives_take_part_with_their_whole_weight(model: FCCLIP) -> None:
    contest = encode(model, "cat; zebu=stuff; not: wolf, dog").contest
    assert contest.everyone.vocabulary.names == ("cat", "zebu", "wolf", "dog")
    assert contest.everyone.seen.tolist() == [True, False, False, True]
    assert contest.weights.tolist() == [NAMED_WEIGHT] * 2
    assert torch.equal(contest.everyone.text.embeddings[2], model.vocabularies.embed(["wolf"])[0])


def test_everything_else_is_what_was_trained_and_not_named(model: FCCLIP) -> None:
    contest = encode(model, "cat; not: dog, everything else").contest
    trained = model.vocabularies.train_vocabulary
    assert len(contest.everyone.vocabulary) == len(trained), "cat and dog are of COCO"
    assert contest.everyone.vocabulary.names[:2] == ("cat", "dog")
    torch.testing.assert_close(contest.weights, torch.tensor([NAMED_WEIGHT] + [TRAINED_WEIGHT] * (len(trained) - 2)))


def test_a_class_yields_to_a_better_negative_and_keeps_its_score_otherwise(model: FCCLIP) -> None:
    decoded = model.encode([{"image": torch.zeros(3, 70, 90)}])[0].decoded
    masks = torch.randn(decoded.clip_embeddings.shape, generator=torch.Generator().manual_seed(0))
    decoded = replace(decoded, clip_embeddings=masks, mask_embeddings=masks)
    plain = model.classify(decoded, encode(model, "cat; zebu"))[0]
    found = model.classify(decoded, encode(model, "cat; zebu; not: wolf"))[0]
    among = model.classify(decoded, encode(model, "cat; zebu; wolf"))[0]
    lost = among[:, 2] > among[:, :2].amax(dim=1)
    assert 0 < lost.sum() < len(lost)
    assert torch.equal(found[~lost], plain[~lost])
    assert (found[lost].argmax(dim=1) == 2).all()
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(len(found)))
    torch.testing.assert_close(found[lost, :2].exp(), 0.01 * plain[lost, :2].exp())
