"""Where files are published: a web address, the Hugging Face hub, Google Drive, or a place for people only."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlparse

import requests

from fcclip.files.transfer import DiskFullError, TransferError, TransientError, fetch_url, is_full_disk, persist

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is fetched.

    Attributes:
        size: bytes; None if unknown.
        digest: "sha256:HEX" or "md5:HEX"; None if unknown.
        is_certain: a file of another digest is refused; else it is taken with a warning.
    """

    size: int | None = None
    digest: str | None = None
    is_certain: bool = True


class Source(Protocol):
    """A place that a file comes from."""

    @property
    def address(self) -> str:
        """Where a person gets the file in a browser."""

    def fetch(self, partial: Path) -> Expected:
        """Bring the file to `partial`, and tell what the place itself says of it.

        Raises:
            TransferError: it could not; says why.
        """


@dataclass(frozen=True)
class WebSource:
    """A file at a web address.

    Attributes:
        url: of the file.
        page: that names the address; "" for the address itself.
    """

    url: str
    page: str = ""

    @property
    def address(self) -> str:
        return self.url

    def fetch(self, partial: Path) -> Expected:
        fetch_url(self.url, partial)
        return Expected()


@dataclass(frozen=True)
class HubSource:
    """A file in a repository of the Hugging Face hub, found by huggingface_hub: its environment variables count.

    The bytes are brought by `fetch_url`, because huggingface_hub begins anew after an interruption.
    """

    repository: str
    file: str
    revision: str = "main"

    @property
    def address(self) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repository, self.file, revision=self.revision, endpoint=_endpoint())

    def fetch(self, partial: Path) -> Expected:
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        headers = build_hf_headers()
        found = persist(lambda: _ask_hub(self.address))
        if urlparse(found.location).netloc != urlparse(self.address).netloc:
            headers.pop("authorization", None)  # a token is for the hub alone
        fetch_url(found.location, partial, headers)
        is_digest = found.etag and _SHA256.fullmatch(found.etag)
        return Expected(found.size, f"sha256:{found.etag}" if is_digest else None)


@dataclass(frozen=True)
class DriveSource:
    """A file that is shared on Google Drive; gdown goes through its pages."""

    file_id: str

    @property
    def address(self) -> str:
        return f"https://drive.google.com/file/d/{self.file_id}/view"

    def fetch(self, partial: Path) -> Expected:
        staged = partial.with_suffix(".drive")
        persist(lambda: self._fetch(staged))
        staged.replace(partial)
        return Expected()

    def _fetch(self, staged: Path) -> None:
        import gdown

        try:
            gdown.download(id=self.file_id, output=str(staged), resume=True, timeout=60)
        except gdown.exceptions.FileURLRetrievalError as error:
            raise TransferError(
                "Google Drive shows a page instead of the file (too many people have fetched it today, or it is no "
                "longer shared)"
            ) from error
        except requests.exceptions.HTTPError as error:
            raise TransferError(f"Google Drive answers {error.response.status_code}") from error
        except (requests.exceptions.RequestException, gdown.exceptions.DownloadError) as error:
            # gdown keeps what came under a name of its own, which begins with that of the file.
            if any(part.stat().st_size for part in staged.parent.glob(f"{staged.name}*.part")):
                raise TransientError("Google Drive cut the connection") from error
            raise TransferError("Google Drive cannot be reached (is there a network?)") from error
        except OSError as error:
            if is_full_disk(error):
                raise DiskFullError(f"the disk of {staged.parent} is full") from error
            raise


@dataclass(frozen=True)
class HandSource:
    """A place where only a person can get the file."""

    where: str

    @property
    def address(self) -> str:
        return self.where

    def fetch(self, partial: Path) -> Expected:
        raise TransferError("no program can fetch it")


def read_source(entry: Mapping[str, str]) -> Source:
    """The source that an entry of a data file describes.

    Raises:
        ValueError: its kind is unknown.
    """
    kind = entry["kind"]
    if kind == "hugging-face":
        return HubSource(entry["repository"], entry["file"], entry.get("revision", "main"))
    if kind == "google-drive":
        return DriveSource(entry["id"])
    if kind == "web":
        return WebSource(entry["url"], entry.get("page", ""))
    if kind == "by-hand":
        return HandSource(entry["where"])
    raise ValueError(f'there is no source of the kind "{kind}"')


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _ask_hub(url: str) -> Any:
    from huggingface_hub import get_hf_file_metadata

    try:
        return get_hf_file_metadata(url)
    except Exception as error:  # of two HTTP libraries, depending on the version: they share no base class
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is None:
            offline = os.environ.get("HF_HUB_OFFLINE") and ", and HF_HUB_OFFLINE is set"
            raise TransferError(
                f"{urlparse(url).netloc} cannot be reached (is there a network?{offline or ''})"
            ) from error
        kind = TransientError if status == 429 or status >= 500 else TransferError
        raise kind(f"{urlparse(url).netloc} answers {status}") from error
