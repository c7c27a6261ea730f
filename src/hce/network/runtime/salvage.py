"""A block log that the disk damaged, opened all the same: what is whole at its beginning stays, the rest comes from the other nodes.

Nothing is repaired by guessing. The records before the first damaged one are copied into a new log, the damaged file is kept beside it
as `blocks.log.damaged-<n>`, and the node, whose log now ends early, fetches what follows like one that was away (`driver.py`). A kill at
any instant leaves the old log or the new one under the name. A lone node has nobody to fetch from: it stops by name.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from hce.foundation.store.appendlog import AppendLog, whole_records
from hce.foundation.store.disk import aside_name, sync_directory
from hce.foundation.store.errors import LogCorrupt, UnknownFormat
from hce.network.runtime.blocklog import MAX_RECORD_BYTES

OTHER_VERSION = b"hce/log/"
"""A log that begins so was written by another version of this code: not damaged, and not ours to change."""

log = logging.getLogger(__name__)


def open_records(path: Path, alone: bool) -> AppendLog:
    """The records of the block log. `LogCorrupt`, `UnknownFormat` for a lone node; the latter also for another version's log."""
    try:
        return AppendLog.open(path, max_record_bytes=MAX_RECORD_BYTES)
    except (LogCorrupt, UnknownFormat) as error:
        if alone or (isinstance(error, UnknownFormat) and error.fields["actual"].startswith(OTHER_VERSION)):
            raise
        kept, aside = _keep_whole(path)
        log.error("%s: %d records are whole, the others are fetched again; the damaged log is %s", error.code, kept, aside.name)
    return AppendLog.open(path, max_record_bytes=MAX_RECORD_BYTES)


def _keep_whole(path: Path) -> tuple[int, Path]:
    """How many records were whole, and where the damaged log lies now."""
    fresh = path.with_name(path.name + ".whole")
    fresh.unlink(missing_ok=True)
    with AppendLog.open(fresh, max_record_bytes=MAX_RECORD_BYTES) as whole:
        for record in whole_records(path):
            whole.append(record, sync=False)
        whole.flush()
        kept = len(whole)
    aside = aside_name(path)
    os.link(path, aside)
    fresh.replace(path)
    sync_directory(path.parent)
    return kept, aside
