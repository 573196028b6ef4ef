import copy
import pickle
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from fcclip.files.cache import TextCache
from fcclip.text import BATCH_SIZE, TEMPLATES, NameEmbedder, TextClassifier, average_prompts, read_templates
from fcclip.vocabulary import Vocabulary

CONTEXT = 77


class FakeTower:
    """Tokenises to lengths, encodes to vectors that tell prompts apart, and counts what it encodes."""

    def __init__(self) -> None:
        self.encoded = 0

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        tokens = torch.zeros(len(prompts), CONTEXT, dtype=torch.int64)
        for row, prompt in zip(tokens, prompts, strict=True):
            codes = [1 + ord(c) % 50 for c in prompt][: CONTEXT - 1]
            row[: len(codes)] = torch.tensor(codes)
            row[len(codes)] = 1000
        return tokens

    def encode(self, tokens: Tensor) -> Tensor:
        self.encoded += len(tokens)
        basis = torch.randn(CONTEXT, 6, generator=torch.Generator().manual_seed(0))
        return (tokens.float() % 1000) @ basis


def embedder(tower: FakeTower, cache: TextCache | None = None) -> NameEmbedder:
    return NameEmbedder(tower.tokenize, tower.encode, lambda: cache)


def test_there_are_fourteen_published_templates() -> None:
    assert len(TEMPLATES) == 14
    assert [template.format("cat") for template in TEMPLATES[:3]] == [
        "a photo of a cat.",
        "This is a photo of a cat",
        "There is a cat in the scene",
    ]
    assert all(template.count("{}") == 1 for template in TEMPLATES)


def test_prompts_are_normalised_averaged_and_normalised() -> None:
    prompts = torch.tensor([[3.0, 0.0], [0.0, 5.0], [1.0, 0.0], [1.0, 0.0]])
    rows = average_prompts(prompts, templates=2)
    torch.testing.assert_close(rows, torch.tensor([[0.5**0.5, 0.5**0.5], [1.0, 0.0]]))


def test_rows_follow_the_names_whatever_the_batches() -> None:
    names = ["a", "a much longer name than that", "bb", "a"]
    tower = FakeTower()
    rows = embedder(tower).embed(names)
    for name, row in zip(names, rows, strict=True):
        prompts = tower.encode(tower.tokenize([template.format(name) for template in TEMPLATES]))
        torch.testing.assert_close(row, average_prompts(prompts, len(TEMPLATES))[0])


def test_a_name_is_encoded_once() -> None:
    tower = FakeTower()
    names = embedder(tower)
    names.embed(["cat", "dog", "cat"])
    assert tower.encoded == 2 * len(TEMPLATES)
    names.embed(["dog", "cow"])
    assert tower.encoded == 3 * len(TEMPLATES)
    names.forget()
    names.embed(["cat"])
    assert tower.encoded == 4 * len(TEMPLATES)


def test_the_names_that_were_used_last_stay_in_memory() -> None:
    tower = FakeTower()
    names = NameEmbedder(tower.tokenize, tower.encode, given={"given": torch.ones(6)}, most_rows=3)
    names.embed(["a", "b", "c"])
    names.embed(["given", "a", "d"])  # b is the oldest now
    encoded = tower.encoded
    names.embed(["d", "c", "a", "given", "a"])
    assert tower.encoded == encoded
    rows = names.embed(["b", "a", "c", "d", "e"])  # more than are kept
    assert tower.encoded == encoded + 2 * len(TEMPLATES)
    assert torch.equal(rows[1], names.embed(["a"])[0])
    names.embed(["c", "d", "e"])
    assert tower.encoded == encoded + 4 * len(TEMPLATES), "a was not among the last three, and put c out"


def test_a_row_keeps_no_more_in_memory_than_itself() -> None:
    names = embedder(FakeTower())
    names.embed(["a", "b", "c"])
    assert {row.untyped_storage().nbytes() for row in names._rows.values()} == {6 * 4}


def test_threads_take_turns_with_the_tower() -> None:
    """It may be released, to a file or from the GPU, only when nobody computes with it."""
    inside: list[str] = []
    mixed: list[list[str]] = []

    class Slow(FakeTower):
        def encode(self, tokens: Tensor) -> Tensor:
            inside.append("encode")
            time.sleep(0.002)
            mixed.extend([list(inside)] if inside != ["encode"] else [])
            inside.remove("encode")
            return super().encode(tokens)

        def release(self) -> None:
            mixed.extend([list(inside)] if inside else [])

    tower = Slow()
    names = NameEmbedder(tower.tokenize, tower.encode, release=tower.release)
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda number: names.embed([f"name {number}", "shared"]), range(16)))
    assert not mixed
    assert tower.encoded == 17 * len(TEMPLATES), "each name once"
    assert all(torch.equal(row, rows[0][1]) for row in (pair[1] for pair in rows))


def test_an_embedder_can_be_pickled_and_copied() -> None:
    names = NameEmbedder(len, torch.abs, given={"given": torch.ones(6)})
    for copied in (pickle.loads(pickle.dumps(names)), copy.deepcopy(names)):
        assert torch.equal(copied.embed(["given"])[0], torch.ones(6))


def test_another_process_reads_the_cache(tmp_path) -> None:
    first, second = FakeTower(), FakeTower()
    rows = embedder(first, TextCache("f" * 64, tmp_path)).embed(["cat", "dog"])
    again = embedder(second, TextCache("f" * 64, tmp_path)).embed(["dog", "cat"])
    assert second.encoded == 0
    assert torch.equal(rows, again.flip(0))


class InterruptedTower(FakeTower):
    """Is interrupted, as by Ctrl-C, when it has encoded so many batches."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self._left = batches

    def encode(self, tokens: Tensor) -> Tensor:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        return super().encode(tokens)


def test_what_was_encoded_before_an_interruption_is_kept(tmp_path) -> None:
    names = [f"name {index}" for index in range(60)]
    with pytest.raises(KeyboardInterrupt):
        embedder(InterruptedTower(batches=2), TextCache("f" * 64, tmp_path)).embed(names)
    kept = 2 * (BATCH_SIZE // len(TEMPLATES))
    again = FakeTower()
    rows = embedder(again, TextCache("f" * 64, tmp_path)).embed(names)
    assert again.encoded == (len(names) - kept) * len(TEMPLATES)
    torch.testing.assert_close(rows, embedder(FakeTower()).embed(names))


def test_an_embedder_that_was_interrupted_goes_on_where_it_was() -> None:
    tower = InterruptedTower(batches=1)
    names = embedder(tower)
    with pytest.raises(KeyboardInterrupt):
        names.embed([f"name {index}" for index in range(20)])
    tower._left = 9
    names.embed([f"name {index}" for index in range(20)])
    assert tower.encoded == 20 * len(TEMPLATES)


def test_values_that_are_no_numbers_are_named_and_not_kept(tmp_path) -> None:
    cache = TextCache("f" * 64, tmp_path)
    broken = NameEmbedder(FakeTower().tokenize, lambda tokens: torch.full((len(tokens), 6), torch.nan), lambda: cache)
    with pytest.raises(ValueError, match="its weights are damaged"):
        broken.embed(["cat"])
    assert cache.read(["cat"]) == {}


def test_templates_of_ones_own(tmp_path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("# from above\nan aerial photo of a {}.\n\n  a {} seen from a drone\n")
    assert read_templates(path) == ("an aerial photo of a {}.", "a {} seen from a drone")
    for text in ("a photo", "a {} and a {}", "a {0}", "a {name}", "{} {0.__class__}"):
        path.write_text(f"a {{}}.\n{text}\n")
        with pytest.raises(ValueError, match=r"prompts\.txt, line 2: .* needs exactly one \{\}"):
            read_templates(path)
    path.write_bytes("eine Aufnahme, schön: {}.".encode("latin-1"))
    with pytest.raises(ValueError, match=r"prompts\.txt is not a text file in UTF-8"):
        read_templates(path)
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="has no prompt"):
        read_templates(path)
    with pytest.raises(FileNotFoundError, match=r"MODEL\.FC_CLIP\.TEMPLATES"):
        read_templates(tmp_path / "none.txt")


def test_overlong_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r'"xxxx.*" is too long'):
        embedder(FakeTower()).embed(["cat", "x" * 80])


def test_classifier_pads_classes_and_appends_void() -> None:
    vocabulary = Vocabulary.from_string("cat,kitten,tomcat; dog; sky")
    classifier = embedder(FakeTower()).build_classifier(vocabulary)
    assert classifier.rows_of_class.tolist() == [[0, 1, 2], [3, 3, 3], [4, 4, 4]]
    void = torch.eye(6)[:1]
    extended = classifier.with_void(void)
    assert len(extended) == len(classifier) + 1 == 4
    assert torch.equal(extended.embeddings[-1:], void)
    assert extended.rows_of_class[-1].tolist() == [5, 5, 5]


def test_classifier_of_a_single_class() -> None:
    classifier = TextClassifier.build(torch.eye(2), [0, 0])
    assert classifier.rows_of_class.tolist() == [[0, 1]]


def test_names_with_a_word_that_was_never_trained_are_told() -> None:
    tower = FakeTower()
    known = {int(token) for token in tower.tokenize(["red star"])[0]}
    strict = NameEmbedder(
        tower.tokenize,
        tower.encode,
        knows=lambda tokens: torch.tensor([[int(token) in known for token in row] for row in tokens]),
        given={"recorded": torch.ones(6)},
    )
    assert strict.unknown(["red star", "zebra", "star", "zebra", "recorded", "red zebra"]) == ["zebra", "red zebra"]
    assert strict.unknown([]) == embedder(tower).unknown(["zebra"]) == []
