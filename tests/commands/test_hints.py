import pytest

from fcclip.commands.hints import MOST_HINTS, vocabulary_hints
from fcclip.vocabulary import Vocabulary


def hints(text: str) -> tuple[str, ...]:
    return vocabulary_hints(Vocabulary.from_string(text))


def test_one_class_of_several_names() -> None:
    assert hints("red circle, white cross, green star") == (
        '"," is between synonyms of one class; for 3 classes write "red circle; white cross; green star"',
    )


def test_synonyms_that_are_classes_of_a_shipped_list() -> None:
    assert hints("cat, dog; bear") == (
        '"cat" and "dog" are synonyms here, but two classes of COCO; for two write "cat; dog"',
    )


@pytest.mark.parametrize(
    "text",
    [
        "cat",
        "forklift; floor=stuff",
        "person",
        "cat,kitten; sky,clouds=stuff",
        "sofa,couch; chair",
        "bus; buses depot",
        "glass; gas",
    ],
)
def test_what_is_right_gets_no_hint(text: str) -> None:
    assert hints(text) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [("cat", "cats"), ("t-shirt", "t shirt"), ("the cat", "cat"), ("box", "boxes"), ("berry", "berries")],
)
def test_names_that_are_nearly_the_same(one: str, other: str) -> None:
    assert hints(f"{one}; {other}") == (
        f'"{one}" and "{other}" are two classes, which are hard to tell apart; if they are one, write "{one},{other}"',
    )


def test_stuff_that_is_not_marked() -> None:
    (hint,) = hints("forklift; floor; sky,clouds")
    assert hint.startswith('"floor", "sky": objects here')
    assert hint.endswith('write "floor=stuff"')
    (hint,) = hints("sky; grass; sea; sand; road; river; snow")
    assert hint.startswith('"sky", "grass", "sea", "sand", "road" and 2 more: ')


def test_only_some_hints_are_given() -> None:
    assert len(hints("; ".join(f"thing{letter}; thing{letter}s" for letter in "abcdefgh"))) == MOST_HINTS
