"""The node's HTTP API for gateways, browsers and tools: chain, records, mailbox, release (`docs/api.md`).

In: requests of anybody. Out: DAG-CBOR answers with proofs, problems with stable codes. Every body has a bound, every wait an end.
Never: consensus messages (they use the link), plaintext, private keys. Release work runs in a worker pool, never on the loop that
drives consensus.
"""
