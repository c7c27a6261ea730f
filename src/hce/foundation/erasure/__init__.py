"""Erasure code: content into k + m shards of which any k give it back, and which node keeps which shard.

    code.py        pure Reed-Solomon over bytes
    placement.py   shard -> node, the same for everybody who computes it
    errors.py      what cannot be decoded, by name

In: ciphertext, shards. Out: shards, ciphertext, node numbers. Called by the gateway's sealing, the SDK, intake and HCE-FS. Never: knows
names of content, verifies what a shard says (its CID does that, before), touches a disk.
"""
