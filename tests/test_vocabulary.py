import pytest
from detectron2.data import Metadata

from fcclip.vocabulary import Category, Vocabulary, read_names, split_synonyms


def test_string_gives_classes_synonyms_and_kinds() -> None:
    vocabulary = Vocabulary.from_string("cat, kitten; sky=stuff; forklift ;")
    assert [category.names for category in vocabulary.categories] == [("cat", "kitten"), ("sky",), ("forklift",)]
    assert vocabulary.thing_ids == {0, 2}
    assert vocabulary.class_strings == ["cat,kitten", "sky", "forklift"]
    assert vocabulary.names == ("cat", "kitten", "sky", "forklift")
    assert vocabulary.class_of_name == (0, 0, 1, 2)


def test_kind_belongs_to_the_whole_class() -> None:
    vocabulary = Vocabulary.from_string("sea,ocean = stuff; cup=thing")
    assert vocabulary.categories == (Category(("sea", "ocean"), is_thing=False), Category(("cup",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no classes"),
        (" ; ;", "no classes"),
        ("cat,,kitten", "empty name"),
        ("cat; dog, cat", '"cat" is given twice'),
        ("cat; Cat", '"Cat" is given twice'),
        ("sky=cloud", "=stuff or =thing"),
        ("x" * 500, "longer than"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary.from_string(text)


def test_file_takes_plain_lines(tmp_path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\ufeff# my classes\ncat,kitten\n\n  sky=stuff\n", encoding="utf-8")
    vocabulary = Vocabulary.from_file(path)
    assert vocabulary.class_strings == ["cat,kitten", "sky"]
    assert vocabulary.thing_ids == {0}
    assert read_names(path).ids is None


def test_file_takes_numbered_lines(tmp_path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("7:sky=stuff\n0:invalid_class_id\n1:cat,kitten\n")
    vocabulary = Vocabulary.from_file(path)
    assert vocabulary.class_strings == ["cat,kitten", "sky"]
    assert read_names(path).by_id() == {1: "cat,kitten", 7: "sky=stuff"}


def test_numbers_must_be_those_of_labels(tmp_path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("2:cat\n0:wall\n1:sky\n")
    read_names(path).require_labels()
    assert read_names(path).strings == ("wall", "sky", "cat")
    path.write_text("0:wall\n2:cat\n5:dog\n")
    with pytest.raises(ValueError, match=r"names.txt numbers its 3 classes 0..5, but .* must be 0..2"):
        read_names(path).require_labels()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1:cat\ndog\n", "1 of 2 lines begin with a number; number every line, or none"),
        ("1:cat\n1:dog\n", "the number 1 is given twice"),
        ("# nothing\n\n", "names no class"),
    ],
)
def test_files_that_contradict_themselves_are_refused(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_names(path)


def test_unreadable_files_are_named(tmp_path) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes("Möwe".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8 text; save it as UTF-8"):
        Vocabulary.from_file(latin)
    with pytest.raises(FileNotFoundError, match=r"no vocabulary file .*none\.txt"):
        Vocabulary.from_file(tmp_path / "none.txt")
    with pytest.raises(ValueError, match="is a folder"):
        Vocabulary.from_file(tmp_path)
    (tmp_path / "twice.txt").write_text("cat\ncat\n")
    with pytest.raises(ValueError, match=r"twice\.txt: the name"):
        Vocabulary.from_file(tmp_path / "twice.txt")


def test_dataset_names_are_kept_to_the_letter() -> None:
    assert split_synonyms("window , pane,glass") == ("window ", "pane", "glass")
    metadata = Metadata(
        stuff_classes=["a, b", "b"], thing_dataset_id_to_contiguous_id={7: 1}, stuff_colors=[[1, 2, 3], [4, 5, 6]]
    )
    vocabulary = Vocabulary.from_metadata(metadata)
    assert vocabulary.names == ("a", "b", "b")
    assert vocabulary.thing_ids == {1}
    assert vocabulary.categories[0].color == (1, 2, 3)


def test_thing_classes_stand_in_for_missing_stuff_classes() -> None:
    vocabulary = Vocabulary.from_metadata(Metadata(thing_classes=["cat", "dog"]))
    assert vocabulary.thing_ids == {0, 1}
    with pytest.raises(ValueError, match="names no classes"):
        Vocabulary.from_metadata(Metadata(name="empty"))


def test_a_folder_of_published_files_replaces_the_names(tmp_path) -> None:
    metadata = Metadata(stuff_classes=["x", "y"], vocabulary="mine", vocabulary_ids=(3, 1))
    with pytest.raises(FileNotFoundError, match="neither mine_with_prompt_eng.txt nor mine.txt"):
        Vocabulary.from_metadata(metadata, tmp_path)
    path = tmp_path / "mine_with_prompt_eng.txt"
    path.write_text("0:invalid_class_id\n1:dog,dog\n2:cow")
    with pytest.raises(ValueError, match="no line for class 3"):
        Vocabulary.from_metadata(metadata, tmp_path)
    path.write_text("0:invalid_class_id\n1:dog,dog\n3:cow, bull")
    assert Vocabulary.from_metadata(metadata, tmp_path).names == ("cow", "bull", "dog", "dog")


def test_numbered_file_wants_numbers(tmp_path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("cat\ndog\n")
    with pytest.raises(ValueError, match="the lines have no numbers"):
        read_names(path).by_id()


def test_seen_means_a_name_in_common() -> None:
    training = Vocabulary.from_string("person,people; car")
    test = Vocabulary.from_string("people; Cars; auto,car")
    assert test.seen_in(training) == [True, False, True]


def test_vocabularies_add_up() -> None:
    both = Vocabulary.from_string("cat") + Vocabulary.from_string("sky=stuff; cat")
    assert len(both) == 3
    assert both.thing_ids == {0, 2}
