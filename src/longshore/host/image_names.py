"""What images are called, and what is kept of one beside its files. Pure.

Source: distribution's reference grammar, and Docker's rules for what may be left out: `busybox` is
`docker.io/library/busybox:latest`.
"""

from __future__ import annotations

import re

from msgspec import Struct

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ImageName(Struct, frozen=True):
    """A digest stands for itself: beside one, the tag says nothing. `registry` "": the digest alone was given."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    def __str__(self) -> str:
        if not self.registry:
            return self.digest or ""
        place = f"{self.registry}/{self.repository}"
        return f"{place}@{self.digest}" if self.digest else f"{place}:{self.tag}"


def parse_name(text: str) -> ImageName:
    """ValueError, in Docker's words: it is no name of an image."""
    if _DIGEST.fullmatch(text):
        return ImageName("", "", None, text)
    place, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise ValueError("invalid reference format")
    first, slash, rest = place.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, path = first, rest
    else:
        registry, path = "docker.io", place
    repository, colon, tag = path.partition(":")
    if registry in ("docker.io", "index.docker.io"):
        registry = "docker.io"
        if "/" not in repository:
            repository = f"library/{repository}"
    if repository != repository.lower():
        raise ValueError("invalid reference format: repository name must be lowercase")
    is_named = _REGISTRY.fullmatch(registry) and _REPOSITORY.fullmatch(repository)
    if not is_named or (colon and not _TAG.fullmatch(tag)):
        raise ValueError("invalid reference format")
    if at:
        return ImageName(registry, repository, None, digest)
    return ImageName(registry, repository, tag or "latest", None)


class UnpackedImage(Struct, frozen=True, kw_only=True):
    """The members of an image's configuration have the OCI image's meaning."""

    digest: str  # sha256:..., of the manifest
    entry_point: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()  # NAME=value
    user: str = ""
    working_directory: str = ""
    stop_signal: str = ""
    passwd: str = ""  # /etc/passwd and /etc/group of the image, for names of users
    group: str = ""
    size_bytes: int = 0
