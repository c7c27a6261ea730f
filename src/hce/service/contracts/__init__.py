"""What transactions mean.

In: transactions in the agreed order, over a journal. Out: changes in the journal, ids made, named refusals.
Called by the ledger. Never: sockets, clocks, storage, private keys. `health` holds the native contracts of the
health chain, `value` the rules of the value chain.
"""
