"""Class names given by the user: what a class is, and lists of them from text, files and datasets."""

from fcclip.vocabulary.category import Category, clean_name, split_synonyms
from fcclip.vocabulary.vocabulary import EVERYTHING_ELSE, NamesFile, Vocabulary, VocabularyLike, read_names

__all__ = [
    "EVERYTHING_ELSE",
    "Category",
    "NamesFile",
    "Vocabulary",
    "VocabularyLike",
    "clean_name",
    "read_names",
    "split_synonyms",
]
