"""`hce bench worst-block`: what the dearest blocks the rules allow cost every node of a real network.

A proposer may fill its blocks with whatever it likes, and whatever it likes must not stop the others. So every kind of transaction is
taken at its dearest, a block is filled with it up to the first bound, and that block is dealt to a network whose nodes have never seen
one of its transactions: nothing is checked before it arrives, no signature is remembered.

In: a number of nodes, rounds, a seed, parameters. Out: for every block, the dearest node's time from the whole proposal to its verdict
(`prevote`) and from the quorum to the durable state (`final`), in processor and in wall time.

    transactions  the dearest payloads, signed (pure)
    room          fills a block up to its bounds
    blocks        which blocks are made, in which order, each upon the state the ones before it left
    dealing       a node's ledger that proposes what it is dealt, and notes what each of its calls cost
    measure       the network, the dealing, the figures

Never: a goal, or a rule of its own about what fits a block: the ledger's own code says it.
"""
