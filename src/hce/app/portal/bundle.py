"""The built page as a set of files, and the one hash that names it."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable

from hce.foundation.types.errors import NotFound

INDEX = "index.html"
FOLDER = "bundle"
VERSION = "0.1.0"
"""Of the sources, as `pyproject.toml` and `web/package.json` say."""
BUILD_NOTES = frozenset({"manifest.json"})
"""What the build leaves for its own checks; not served and not named by the hash."""


class PortalNotBuilt(NotFound):
    """The page was not built on this machine."""

    code = "portal.not_built"


def read_bundle() -> dict[str, bytes]:
    """Path -> bytes of every file that is served. Raises `PortalNotBuilt`."""
    root = files("hce.app.portal").joinpath(FOLDER)
    found = dict(_walk(root, "")) if root.is_dir() else {}
    if INDEX not in found:
        raise PortalNotBuilt
    return {path: content for path, content in found.items() if path not in BUILD_NOTES}


def is_built() -> bool:
    """Whether there is a page to serve."""
    return files("hce.app.portal").joinpath(FOLDER, INDEX).is_file()


def bundle_hash(bundle: dict[str, bytes]) -> str:
    """SHA-256, in hex, of what `sha256sum` prints for all files in the order of their paths."""
    lines = [f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in sorted(bundle.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _walk(folder: Traversable, above: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        path = above + entry.name
        found += _walk(entry, path + "/") if entry.is_dir() else [(path, entry.read_bytes())]
    return found
