"""Drives the pure consensus core in the real world: timers, sign state, block log, messages.

In: bytes from peers, a clock, timers, two files and a log. Out: signed messages, final blocks, calls to the `Application`.
Called by `app/node.py` (on asyncio) and by `tests/simulate` (on a virtual clock); both run the same `Driver`.
It never decides anything that `network/consensus` can decide, and signs nothing that is not in the sign state first.
"""
