"""Lock B at one node: decide whether a record's key part may be released, note it to the owner, release it.

    case.py      a request beside the state it is judged by
    release.py   the decision: one pure function over one printable table of checks
    revoked.py   grants seen revoked before the chain says so, durable
    hearing.py   what other nodes have seen revoked, for one that lost its list
    partials.py  the answer: partial decryptions with proofs, and the receipt
    keyshare.py  this node's share of lock B's key on disk
    anchoring.py the lists of receipts, posted on chain period by period
    service.py   decide, write the receipt, answer

In: release requests, the final health state, revocations the ledger is about to precommit or peers tell. Out: sealed replies, and sealed
receipts in the owner's log. Called by the node's API (in a worker thread); the ledger's hook fills the set of revocations, and peers that
lost theirs ask for it. Never: sees plaintext, a compartment key or a DEK; writes or logs openings and salts; answers without a final
access entry.
"""
