import os

import pytest
from detectron2.data import Metadata

from fcclip.data.builtin_vocabularies import join_vocabularies
from fcclip.vocabulary import Category, Vocabulary, clean_name, read_names, split_synonyms


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
        ("cat; dog, cat", r'"cat" is given twice, in class 1 \("cat"\) and in class 2 \("dog,cat"\); remove one'),
        ("cat, cat", r'"cat" is given twice, in class 1 \("cat,cat"\) and in class 1'),
        ("cat; not: dog, Cat", r'"Cat" is given twice, in class 1 \("cat"\) and in "not:"; remove one'),
        ("cat>high", 'should end in a score from 0 to 1, like >0.6, not in ">high"'),
        ("cat>1.5", "a score from 0 to 1"),
        ("cat>0.5=cloud", "=stuff or =thing"),
        ("cat; not: wolf,", "empty name"),
        ("not: wolf", "no classes"),
        ("cat; Cat", '"Cat" is given twice'),
        ("sky=cloud", "=stuff or =thing"),
        ("x" * 500, "longer than"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary.from_string(text)


def test_thresholds_of_classes() -> None:
    vocabulary = Vocabulary.from_string("cat,kitten>0.6; sky=stuff > .25; sea>1=stuff; dog")
    assert vocabulary.thresholds == (0.6, 0.25, 1.0, 0.0)
    assert vocabulary.names == ("cat", "kitten", "sky", "sea", "dog")
    assert vocabulary.thing_ids == {0, 3}
    assert Vocabulary.from_string("cat; dog").thresholds is None
    assert Vocabulary.from_string("cat>0.6; dog").describe() == "2 classes: cat (from a score of 0.6); dog"
    with pytest.raises(ValueError, match='the threshold of "cat" is 2; give a number from 0 to 1'):
        Category(("cat",), threshold=2)


def test_negatives_are_no_classes(tmp_path) -> None:
    vocabulary = Vocabulary.from_string("dog; not: wolf, fox; cat; NOT: lynx")
    assert [category.name for category in vocabulary.categories] == ["dog", "cat"]
    assert vocabulary.negatives == ("wolf", "fox", "lynx")
    assert not vocabulary.everything_else
    other = Vocabulary.of(["sky=stuff", "not: everything else"])
    assert other.everything_else
    assert other.negatives == ()
    both = vocabulary + other
    assert both.everything_else
    assert both.negatives == vocabulary.negatives
    assert both.describe().endswith("; not: wolf, fox, lynx, everything else")
    (tmp_path / "names.txt").write_text("dog\nnot: wolf, fox\n")
    assert Vocabulary.from_file(tmp_path / "names.txt").negatives == ("wolf", "fox")
    with pytest.raises(ValueError, match=r'names.txt has "not:" in it, which the names of a dataset cannot have'):
        _ = read_names(tmp_path / "names.txt").categories


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


def test_what_was_understood_is_told() -> None:
    one = Vocabulary.from_string("red circle, white cross, green star")
    assert one.describe() == "1 class: red circle (also: white cross, green star)"
    two = Vocabulary.from_string("cat,kitten; sky,clouds=stuff")
    assert two.describe() == "2 classes: cat (also: kitten); sky (stuff; also: clouds)"
    assert Vocabulary.of([f"n{index}" for index in range(5)]).describe(most=2) == "5 classes: n0; n1; and 3 more"


CATS = [("cat",), ("dog",), ("bird",)]


@pytest.mark.parametrize(
    "value",
    [
        "cat; dog; bird",
        "cat\ndog\nbird",
        "cat\r\n# no more\n\ndog;bird\n",
        '["cat", "dog", "bird"]',
        "['cat', 'dog', 'bird']",
        "[cat, dog, bird]",
        '{"0": "cat", "1": "dog", "2": "bird"}',
        "{0: 'cat', 2: 'bird', 1: 'dog'}",
        '{"cat": 0, "bird": 2, "dog": 1}',
        "names:\n  0: cat\n  1: dog\n  2: bird\nnc: 3\n",
        "path: ../data\nnames: [cat, dog, bird]\n",
        "0,cat\n1,dog\n2,bird",
        "id,name\n0,cat\n1,dog\n2,bird",
        'id;name\n0;"cat"\n1;dog\n2;bird',
        "2\tbird\n0\tcat\n1\tdog",
        "0: cat; 2: bird; 1: dog",
        '"cat"; "dog"; \'bird\'',
        ["cat", "dog", "bird"],
        ("cat", "dog", "bird"),
        iter(["cat", "dog", "bird"]),
        {0: "cat", 2: "bird", 1: "dog"},
        {"names": {0: "cat", 1: "dog", 2: "bird"}},
        {"categories": [{"id": 7, "name": "dog"}, {"id": 1, "name": "cat"}, {"id": 9, "name": "bird"}]},
        [["cat"], ("dog",), "bird"],
        [Category(("cat",)), Category(("dog",)), Category(("bird",))],
        Vocabulary.from_string("cat;dog;bird"),
        "c\u200bat; do\ufeffg;\u00a0bird",
    ],
)
def test_classes_are_understood_as_people_write_them(value: object) -> None:
    assert [category.names for category in Vocabulary.of(value).categories] == CATS


def test_synonyms_and_stuff_are_understood_in_every_form() -> None:
    right = (Category(("cat", "kitten")), Category(("sky",), is_thing=False))
    for value in (
        [["cat", "kitten"], "sky=stuff"],
        {0: ["cat", "kitten"], 1: "sky=stuff"},
        '["cat,kitten", "sky=stuff"]',
        "0,cat,kitten\n1,sky=stuff",
        {"categories": [{"id": 1, "name": "cat,kitten", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}]},
    ):
        assert Vocabulary.of(value).categories == right
    assert Vocabulary.of({"cat": ["kitten"], "dog": []}).class_strings == ["cat,kitten", "dog"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the classes are None; give a list"),
        (3, "the classes are 3; give a list"),
        (b"cat", "the classes are b'cat'; give a list"),
        ([1, 2], 'a class is text like "cat,kitten", not 1; put names in quotes'),
        (["cat", None], "not None"),
        ([["cat", 1]], r"not \['cat', 1\]"),
        ([[]], r"not \[\]"),
        ("[yes, no]", "not True; put names in quotes"),
        ("[1, 2]", "not 1; put names in quotes"),
        ('{"cat": "kitten"}', "is no list of classes; give a list"),
        ({0: "cat", "a": "dog"}, "is no list of classes"),
        ('["cat", ', "the vocabulary, line 1: "),
        ("[" * 100_000, "is nested"),
        (["cat;dog"], 'the class "cat;dog" has ";" in it'),
        ("names.txt", '"names.txt" is the name of a file; to read it, give a pathlib.Path, or --vocabulary-file'),
        ("/data/My Names.CSV", "is the name of a file"),
        ("0,wall,120,120,120\n1,sky,6,230,230", "has more columns of numbers"),
        ("0:cat;0:dog", "the number 0 is given twice"),
        ("0:cat\ndog", "1 of 2 lines begin with a number"),
        ([], "no classes"),
        ({}, "is no list of classes"),
        ("\u200b; dog", "empty name"),
        ("\u200d; dog", "empty name"),
        ("caf\u00e9; cafe\u0301", "is given twice"),
        ("cat; \uff43\uff41\uff54", "is given twice"),
        ("red star; red  star", "is given twice"),
        ("red star; red\u00a0star", "is given twice"),
        ("cat; c\u00adat", "is given twice"),
        ("STRASSE; stra\u00dfe", "is given twice"),
        ("\ud800", r"control character U\+D800"),
        *((f"{chr(code)}; dog", rf"control character U\+{code:04X}") for code in range(1, 9)),
        ("c\x00at", r'the name "c\?at" has the control character U\+0000; remove it'),
    ],
)
def test_what_is_no_vocabulary_is_one_sentence(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Vocabulary.of(value)
    assert "\n" not in str(error.value)


def test_every_control_character_is_refused_or_is_white_space() -> None:
    for code in (*range(32), *range(127, 160)):
        if chr(code).isspace():
            assert clean_name(f"red{chr(code)}star") == "red star"
        else:
            with pytest.raises(ValueError, match="control character"):
                clean_name(f"red{chr(code)}star")


def test_letters_are_composed_and_joiners_stay() -> None:
    assert clean_name("cafe\u0301") == "caf\u00e9"
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f466"
    assert clean_name(family) == family
    assert clean_name("\u0928\u0947\u200d") == "\u0928\u0947\u200d"


def test_files_of_other_programs_are_read(tmp_path) -> None:
    contents = {
        "data.yaml": "path: x\nnc: 2\nnames:\n  0: cat\n  1: dog\n",
        "names.json": '{"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}',
        "list.json": '["cat", "dog"]',
        "classes.csv": "id,name\n0,cat\n1,dog\n",
        "one_line.txt": "cat;dog\n",
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
        assert Vocabulary.of(tmp_path / name).names == ("cat", "dog")
    assert read_names(tmp_path / "names.json").ids == (1, 2)


def test_files_that_hold_no_text_are_named(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "utf16").write_bytes("cat\ndog".encode("utf-16-le"))
    (tmp_path / "code.yaml").write_text("names: !!python/object/apply:os.system ['true']\n")
    for path, message in (
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path / "utf16", r"utf16 has NUL bytes, so it is not UTF-8 text; save it as UTF-8"),
        (tmp_path / "code.yaml", r"code\.yaml: the vocabulary, line 1: the tag !!python"),
        (tmp_path / ("a" * 5000), "no vocabulary file can be called"),
    ):
        with pytest.raises(ValueError, match=message):
            Vocabulary.from_file(path)
    with pytest.raises((ValueError, FileNotFoundError), match="vocabulary file"):
        Vocabulary.from_file("nul\0.txt")


def test_negatives_outlive_a_list_that_is_added() -> None:
    joined = join_vocabularies([Vocabulary.from_string("sky=stuff; not: wolf, everything else"), Vocabulary.of("cat")])
    assert [category.name for category in joined.categories] == ["cat", "sky"]
    assert joined.negatives == ("wolf",)
    assert joined.everything_else


def test_a_class_without_a_name_is_refused() -> None:
    for names in ((), ("",), ("cat", " ")):
        for threshold in (0.0, 2.0):
            with pytest.raises(ValueError, match="has an empty name among"):
                Category(names, threshold=threshold)


@pytest.mark.parametrize("text", ["cat; not: dog", "cat>0.5; dog"])
def test_what_needs_masks_is_refused_where_there_are_none(text: str) -> None:
    Vocabulary.of("cat; dog").require_plain()
    with pytest.raises(ValueError, match="this model gives every pixel a class"):
        Vocabulary.of(text).require_plain()
