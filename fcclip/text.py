"""From class names to text embeddings: prompt templates, averaging, and a cache on disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fcclip.files.cache import TextCache
from fcclip.vocabulary import Vocabulary
from fcclip.vocabulary.remarks import refuse_overlong

TEMPLATES = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    "a photo of a small {}.",
    "a photo of a medium {}.",
    "a photo of a large {}.",
    "This is a photo of a small {}.",
    "This is a photo of a medium {}.",
    "This is a photo of a large {}.",
    "There is a small {} in the scene.",
    "There is a medium {} in the scene.",
    "There is a large {} in the scene.",
)
BATCH_SIZE = 256
PROGRESS_AFTER = 3.0  # seconds; who waits less needs no progress bar
MOST_ROWS = 20_000  # names whose rows stay in memory, 60 MB of CLIP-L's
WRITE_SECONDS = 10.0  # from one writing of the cache to the next while names are encoded


@dataclass(frozen=True)
class TextClassifier:
    """The classes of a vocabulary as unit vectors in CLIP's embedding space.

    Args:
        embeddings: (S, E), one unit row per synonym.
        rows_of_class: (C, most synonyms of a class) indices into the rows, the first one repeated as padding.
    """

    embeddings: Tensor
    rows_of_class: Tensor

    @classmethod
    def build(cls, embeddings: Tensor, class_of_row: Sequence[int]) -> TextClassifier:
        """Args: embeddings (S, E); class_of_row: the class of each row, classes in ascending order."""
        rows: list[list[int]] = [[] for _ in range(max(class_of_row) + 1)]
        for row, index in enumerate(class_of_row):
            rows[index].append(row)
        widest = max(map(len, rows))
        padded = [entries + entries[:1] * (widest - len(entries)) for entries in rows]
        return cls(embeddings, torch.tensor(padded, device=embeddings.device))

    def __len__(self) -> int:
        return len(self.rows_of_class)

    def with_void(self, void: Tensor) -> TextClassifier:
        """Append one more class, "none of these": `void` has its rows, (n, E)."""
        columns = max(self.rows_of_class.shape[1], len(void))
        first = self.rows_of_class[:, :1].expand(-1, columns - self.rows_of_class.shape[1])
        rows = torch.full_like(self.rows_of_class[:1, :1], len(self.embeddings)).repeat(1, columns)
        rows[:, : len(void)] += torch.arange(len(void), device=rows.device)
        embeddings = torch.cat([self.embeddings.to(void.device), void])
        widened = torch.cat([self.rows_of_class, first], dim=1)
        return TextClassifier(embeddings, torch.cat([widened, rows]).to(void.device))

    def to(self, device: torch.device) -> TextClassifier:
        return TextClassifier(self.embeddings.to(device), self.rows_of_class.to(device))


class NameEmbedder:
    """Embeds class names: fills the templates, encodes, normalises, averages, normalises again.

    A name is encoded once: the rows that were used last are kept in memory, and on disk where a cache is given. Threads
    take turns.

    Args:
        tokenize: prompts -> (n, context length) int64; the end token has the largest id.
        encode: tokens -> (n, E).
        open_cache: gives the cache that belongs to the present weights, or None.
        templates: prompts with one `{}` each.
        given: rows of names that are not to be encoded, because they were recorded.
        knows: which tokens were trained, as bool of their shape; None: all.
        release: called when names have been embedded, so that nothing need be kept ready for more of them.
        most_rows: names that are kept in memory.
    """

    def __init__(
        self,
        tokenize: Callable[[Sequence[str]], Tensor],
        encode: Callable[[Tensor], Tensor],
        open_cache: Callable[[], TextCache | None] | None = None,
        templates: Sequence[str] = TEMPLATES,
        given: Mapping[str, Tensor] | None = None,
        release: Callable[[], None] | None = None,
        knows: Callable[[Tensor], Tensor] | None = None,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self._most_rows = most_rows
        self._turn = threading.Lock()
        self._knows = knows
        self._release = release
        self._tokenize = tokenize
        self._encode = encode
        self._open_cache = open_cache
        self._templates = tuple(templates)
        self._given = dict(given or {})
        self._rows: dict[str, Tensor] = {}  # the last used last

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_turn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _turn=threading.Lock())

    @property
    def templates(self) -> tuple[str, ...]:
        """The prompts."""
        return self._templates

    def forget(self) -> None:
        """Drop the rows in memory that were encoded, because the weights have changed."""
        with self._turn:
            self._rows = {}

    def build_classifier(self, vocabulary: Vocabulary) -> TextClassifier:
        """The text classifier of a vocabulary, on the CPU."""
        return TextClassifier.build(self.embed(vocabulary.names), vocabulary.class_of_name)

    def embed(self, names: Sequence[str]) -> Tensor:
        """Names -> (S, E) unit rows, float32 on the CPU.

        Names that were encoded before an error or an interruption are kept.

        Raises:
            ValueError: a name is too long for CLIP's text tower, or the tower gives values that are no numbers.
        """
        with self._turn:
            try:
                self._make_rows(names)
            finally:
                if self._release is not None:
                    self._release()
            rows = [self._use(name) for name in names]
            while len(self._rows) > self._most_rows:
                del self._rows[next(iter(self._rows))]
        return torch.stack(rows)

    def _use(self, name: str) -> Tensor:
        """The row of a name that has one, which from now on is the last used."""
        if name in self._given:
            return self._given[name]
        row = self._rows[name] = self._rows.pop(name)
        return row

    def unknown(self, names: Sequence[str]) -> list[str]:
        """The names that have a word which CLIP was never trained on; what is found for them means nothing."""
        names = [name for name in dict.fromkeys(names) if name not in self._given]
        if self._knows is None or not names:
            return []
        tokens = self._tokenize(names)
        places = torch.arange(tokens.shape[1])
        inside = (places > 0) & (places < tokens.argmax(dim=-1, keepdim=True))  # between the start and the end token
        strange = (inside & ~self._knows(tokens)).any(dim=-1)
        return [name for name, is_strange in zip(names, strange.tolist(), strict=True) if is_strange]

    def _make_rows(self, names: Sequence[str]) -> None:
        """Read from the cache, or encode, the names that have no row yet."""
        missing = [name for name in dict.fromkeys(names) if name not in self._rows and name not in self._given]
        cache = self._open_cache() if missing and self._open_cache is not None else None
        if cache is not None:
            self._rows.update(cache.read(missing))
            missing = [name for name in missing if name not in self._rows]
        if missing:
            self._encode_names(missing, cache)

    def _encode_names(self, names: Sequence[str], cache: TextCache | None) -> None:
        """Encode names in batches, and keep each batch at once: it may take minutes, and the user may not wait."""
        count = len(self._templates)
        tokens = self._tokenize([template.format(name) for name in names for template in self._templates])
        longest = tokens.argmax(dim=-1).view(len(names), count).amax(dim=1)
        refuse_overlong(zip(names, longest.tolist(), strict=True), tokens.shape[1])
        prompts_of_name = tokens.view(len(names), count, -1)
        order = _in_order(prompts_of_name[:, 0])  # names that begin alike come together, and are encoded together
        bar = tqdm(total=len(names), desc="encoding class names", delay=PROGRESS_AFTER, disable=None, leave=False)
        unwritten: dict[str, Tensor] = {}
        written = time.monotonic()
        try:
            for batch in order.split(max(BATCH_SIZE // count, 1)):
                prompts = self._encode(prompts_of_name[batch].flatten(0, 1)).float().cpu()
                rows = average_prompts(prompts, count)
                _refuse_no_numbers(rows)
                # Each keeps no more in memory than itself.
                made = {names[index]: row.clone() for index, row in zip(batch.tolist(), rows, strict=True)}
                unwritten.update(made)
                self._rows.update(made)
                bar.update(len(batch))
                if cache is not None and time.monotonic() - written > WRITE_SECONDS:
                    cache.add(unwritten)
                    unwritten = {}
                    written = time.monotonic()
        finally:
            bar.close()
            if cache is not None and unwritten:
                cache.add(unwritten)


def _in_order(prompts: Tensor) -> Tensor:
    """The order (n,) in which prompts (n, context length) stand in a dictionary of tokens."""
    return torch.from_numpy(np.lexsort(prompts.numpy().T[::-1]))


def _refuse_no_numbers(rows: Tensor) -> None:
    if not torch.isfinite(rows).all():
        raise ValueError(
            "CLIP's text tower gives values that are no numbers (NaN or infinite); its weights are damaged: load others"
        )


def read_templates(path: str | Path) -> tuple[str, ...]:
    """Prompts of one's own: a file with one per line, `{}` where the name goes; lines that begin with # are skipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no prompt, or a line has not exactly one `{}`; names the line.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of prompts {path}; check MODEL.FC_CLIP.TEMPLATES")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8") from None
    templates = []
    for number, line in enumerate(lines, start=1):
        template = line.strip()
        if not template or template.startswith("#"):
            continue
        if template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
            raise ValueError(f'{path}, line {number}: "{template[:60]}" needs exactly one {{}}, where the name goes')
        templates.append(template)
    if not templates:
        raise ValueError(f"{path} has no prompt; write lines such as: a photo of a {{}}.")
    return tuple(templates)


def average_prompts(embeddings: Tensor, templates: int) -> Tensor:
    """Prompt embeddings (S * templates, E) -> unit rows (S, E): normalise, average over the templates, normalise."""
    unit = embeddings / embeddings.norm(dim=-1, keepdim=True)
    mean = unit.view(-1, templates, unit.shape[-1]).mean(dim=1)
    return mean / mean.norm(dim=-1, keepdim=True)
