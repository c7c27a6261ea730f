"""The ledger: what the agreed order means. Executes blocks of both chains, keeps the final state, answers and proves from it.

In: blocks and their context from consensus (`network/consensus/application.py`), signed transactions from the API, one folder of LMDB.
Out: ledger headers, receipts, proofs, and the grants that a block is about to revoke (to the keyholders, before the node's vote).
Called by `app/node.py`, the consensus runtime, the API and, through `queries`, by keyholders and mailbox.
Never: a round, a private key, a socket, plaintext; the clock handed to it bounds how long a proposal is filled, and nothing else.

    ledger.py      the Application of consensus: prepare, process, finalize, commit
    execution.py   pure: one block over one journal
    headers.py     the ledger header that execution gives
    genesis.py     height 0
    admission.py   raw bytes -> transactions whose signatures hold, each checked once
    pool.py        transactions that wait, in the lanes of lanes.py and value_lane.py
    final.py       tables, and reads of the last final state
    queries.py     what others may ask of the final state
"""
