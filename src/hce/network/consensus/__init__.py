"""Consensus: how n nodes agree on one block a height. DPoS turns choose who proposes, Tendermint (arXiv 1807.04938) makes it final.

In: inputs (a proposal, a vote, a timeout, a verdict about a block). Out: a new state and effects (sign this, ask that, decide).
Called by `network/runtime`, which owns keys, clocks, disks and the network; light clients call `commit.verify_commit`.
It never reads a clock, never touches a disk, never checks a signature inside `step`, and never looks into a ledger block.
"""
