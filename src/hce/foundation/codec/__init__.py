"""The encodings of everything that is hashed, signed, stored or sent: strict DAG-CBOR, CIDs, RLP.

In: builtins and frozen structs. Out: the one canonical byte string. Called by everybody; decides nothing.
"""
