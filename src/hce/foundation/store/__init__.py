"""Storage of one process: key-value tables, the journal of a block, map nodes, packs of blobs, append-only logs.

In: paths, bytes, and the hooks that make bytes durable (handed in, so that tests can stop the process between any two of them).
Out: bytes that were checked on the way back, or a named error from `errors.py`. Called by the ledger, consensus, the mailbox and
the gateway's vault; each owns its own folder. Never: knows what the bytes mean, opens a folder twice, repairs damage in silence.

    kv.py         LMDB tables: snapshots to read, one atomic batch to write
    blame.py      whether an error of LMDB is the files' fault or the machine's
    check.py      whether the tables' files are whole, asked in a process of its own
    salvage.py    the rows of damaged tables that can still be read
    journal.py    uncommitted changes of a block over both chains, with nested checkpoints
    mapnodes.py   the authenticated map of `foundation/proofs` kept in tables; `mapbucket.py` is one bucket of it
    packs.py      content-addressed blobs in large files
    appendlog.py  numbered records, one file
    disk.py       directories and flushes
"""
