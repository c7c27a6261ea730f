"""What can go wrong on our own disk, by name."""

from __future__ import annotations

from hce.foundation.types.errors import Corrupt, NotFound, Refused, TooLarge, Unavailable


class DiskFull(Unavailable):
    """No room: the file system is full or the store reached its greatest allowed size. Nothing was written."""

    code = "disk.full"
    status = 507


class StoreBusy(Unavailable):
    """Another process has this folder open."""

    code = "store.busy"


class ReadersOpen(Unavailable):
    """The store must grow, and cannot while a read snapshot is open. Nothing was written; close the snapshot and try again."""

    code = "store.readers_open"


class SalvageUnfinished(Unavailable):
    """A child that reads what is left of damaged tables was ended before it had read all of it, again and again. Nothing was changed."""

    code = "store.salvage_unfinished"


class WriteFailed(Unavailable):
    """The disk refused a flush, so what is durable is no longer known. The store takes no more writes until it is opened again."""

    code = "disk.write_failed"


class UnknownFormat(Corrupt):
    """The folder was written by another version of this code, or is no store of ours."""

    code = "store.format_unknown"


class StoreCorrupt(Corrupt):
    """The key-value files are damaged."""

    code = "store.corrupt"


class StoreForeign(Corrupt):
    """The key-value files are those of another folder or of another node."""

    code = "store.foreign"


class KeyUnfit(Refused):
    """A key is empty or longer than the store takes."""

    code = "store.key_unfit"
    status = 400


class LogCorrupt(Corrupt):
    """A record of an append-only log is damaged and is not the torn tail of a crash."""

    code = "log.corrupt"


class RecordTooLarge(TooLarge):
    """A record is longer than the log takes."""

    code = "log.record_too_large"


class RecordNotFound(NotFound):
    """The log has no record of that index."""

    code = "log.record_not_found"


class BlobCorrupt(Corrupt):
    """The bytes on disk are not the ones the CID names."""

    code = "blob.corrupt"


class BlobNotFound(NotFound):
    """No blob under that CID, or it was deleted."""

    code = "blob.not_found"


class BlobTooLarge(TooLarge):
    """A blob is longer than the block store takes."""

    code = "blob.too_large"


class CidMismatch(Refused):
    """The bytes handed in are not the ones their CID names."""

    code = "blob.cid_mismatch"
    status = 400
