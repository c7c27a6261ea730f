"""The nouns of HCE: scalars, headers, votes, transactions, errors, limits and the clock.

What comes in: decoded builtins. What goes out: frozen structs that cannot be wrong. Nothing here hashes, signs, stores or sends.
Every struct is encoded as a DAG-CBOR list of its fields in the order written here (`docs/formats.md`).
"""
