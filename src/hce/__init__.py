"""HCE, the Health Care Ecosystem: a person owns their medical data.

Four floors, each importing only from the floors below it:

    app         what a person touches: the processes, the CLI, the demo network
    service     what the agreed order means: records, grants, access, money
    network     how many machines agree on one order and keep each other's blocks
    foundation  no policy, no network: types, codecs, cryptography, proofs, storage

`docs/life-of-a-record.md` follows one medical record through all of them.
"""

VERSION = "0.1.0"
"""As in pyproject.toml; a test compares."""
