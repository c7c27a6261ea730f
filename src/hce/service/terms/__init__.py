"""The words node and gateway share: transactions, certificates, policies, grants, access entries, receipts, and how they are bound.

In: decoded bytes. Out: structs, ids, commitments, signing bytes, and the pure question "does this opening fit that commitment?".
Called by the ledger, the keyholders, the vault and the SDK. Never: storage, clocks, sockets, private keys of persons.
All formats: `docs/formats.md`.
"""
