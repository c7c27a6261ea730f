"""`rbcl` (libsodium), imported without leaving its library behind.

The package carries libsodium as text and writes it into the temporary folder at every import, 2.8 MB that nobody removes: a machine whose
processes start often fills its disk. Here it goes into a folder that is removed as soon as the library is loaded; what is loaded stays.
"""

from __future__ import annotations

import importlib
import tempfile
from typing import Any


def _load() -> Any:
    usual = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="hce-sodium-") as folder:
        tempfile.tempdir = folder
        try:
            return importlib.import_module("rbcl")
        finally:
            tempfile.tempdir = usual


rbcl = _load()
