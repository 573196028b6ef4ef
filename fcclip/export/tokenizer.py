"""CLIP's tokenizer from the merges in an exported folder: byte pairs, in NumPy and the standard library.

Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", ACL 2016; the vocabulary's order
is that of OpenAI's CLIP.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np

END_OF_WORD = "</w>"
_PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE)


class Tokenizer:
    """Prompts to tokens, as open_clip's `SimpleTokenizer` makes them (but for its repair of mojibake).

    Args:
        merges: pairs of symbols, the most frequent first.
        context_length: the most tokens of a prompt; longer ones are cut.
    """

    def __init__(self, merges: Sequence[tuple[str, str]], context_length: int) -> None:
        self._symbol_of_byte = byte_symbols()
        singles = list(self._symbol_of_byte.values())
        vocabulary = [*singles, *(symbol + END_OF_WORD for symbol in singles), *map("".join, merges)]
        self._token_of = {symbol: index for index, symbol in enumerate(vocabulary)}
        self._rank_of = {pair: rank for rank, pair in enumerate(merges)}
        self.start, self.end = len(vocabulary), len(vocabulary) + 1
        self.context_length = context_length
        self._tokens_of_word = lru_cache(maxsize=1 << 16)(self._split)

    @classmethod
    def read(cls, path: Path, context_length: int) -> Tokenizer:
        """Read a file with one pair per line.

        Raises:
            ValueError: a line is no pair.
        """
        merges = []
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if not line:
                continue
            pair = line.split(" ")
            if len(pair) != 2:
                raise ValueError(f"{path}, line {number} is no pair of symbols; export the model again")
            merges.append((pair[0], pair[1]))
        return cls(merges, context_length)

    def __call__(self, prompts: Sequence[str]) -> np.ndarray:
        """Prompts -> (n, context length) int64: start, tokens, end, zeros."""
        rows = np.zeros((len(prompts), self.context_length), np.int64)
        for row, prompt in zip(rows, prompts, strict=True):
            tokens = [self.start, *self.encode(prompt), self.end][: self.context_length]
            tokens[-1] = self.end
            row[: len(tokens)] = tokens
        return rows

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without start and end."""
        text = " ".join(html.unescape(html.unescape(text)).split()).lower()
        return [token for piece in _pieces(text) for token in self._tokens_of_word(piece)]

    def _split(self, word: str) -> tuple[int, ...]:
        symbols = [self._symbol_of_byte[byte] for byte in word.encode("utf-8")]
        symbols[-1] += END_OF_WORD
        while len(symbols) > 1:
            first, second = min(pairwise(symbols), key=lambda pair: self._rank_of.get(pair, len(self._rank_of)))
            if (first, second) not in self._rank_of:
                break
            symbols = list(_merged(symbols, first, second))
        return tuple(self._token_of[symbol] for symbol in symbols)


def byte_symbols() -> dict[int, str]:
    """A visible character for every byte: itself where it is one, else one from 256 on; in CLIP's order."""
    visible = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + place) for place, byte in enumerate(others)}


def _merged(symbols: Sequence[str], first: str, second: str) -> Iterator[str]:
    place = 0
    while place < len(symbols):
        if symbols[place : place + 2] == [first, second]:
            yield first + second
            place += 2
        else:
            yield symbols[place]
            place += 1


def _pieces(text: str) -> Iterator[str]:
    """Words, single digits and runs of marks. Numbers like "½" are letters to `re`, and are taken out of words here."""
    for piece in _PIECES.findall(text):
        if piece.isascii():
            yield piece
            continue
        for is_number, group in groupby(piece, lambda character: unicodedata.category(character)[0] == "N"):
            run = "".join(group)
            yield from run if is_number else [run]
