"""Cryptography, each primitive from a kept library: hash, sign, seal (X-Wing HPKE), threshold (TDH2), derive, secrets.

In: bytes and secret types. Out: bytes. Randomness comes from the operating system unless a caller hands in a seed (vectors).
Never: policy, storage, logs.
"""
