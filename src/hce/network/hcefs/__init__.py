"""HCE-FS on one node: ciphertexts of all nodes from any k shards, own shards kept whole.

    manifest.py    where the ciphertexts of a batch lie (stored as a blob, named on chain)
    placements.py  durable tables: ciphertext -> placement, own shard -> ciphertext, manifests still to come
    peers.py       asking other nodes, over any request channel; answering them
    together.py    many small questions to one node in few requests
    gather.py      any k good shards of one content, from the nearest first
    fs.py          reading and repairing
    scrub.py       the walk over everything this node should hold, at a bounded rate
    errors.py      what cannot be given, by name

In: placements from the intake and from final blocks, shards of peers. Out: verified ciphertexts, verified own shards. Called by the
node's API and its composition root. Never: sees a key or plaintext, answers with bytes that are not what their name says.
"""
