"""The value chain's rules: accounts, plain signed Ethereum transfers, system transfers, the Ethereum header.

In: a journal, decoded transactions and the numbers of the block. Out: receipts, gas, system transfers, header bytes; changes stay in
the journal. Called by `service/ledger`. Never: contract code (a later rules version moves the engine in here, over the same keys),
storage, clocks, health state.
"""
