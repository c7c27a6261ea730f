"""The rules of both chains: `health/` and `value/`, one file per domain contract.

In: a journal, the numbers of the block, transactions. Out: changes in the journal and ids, or a named error with nothing changed.
Called by `service/ledger`. Never: storage, clocks, sockets, randomness, private keys.
"""
