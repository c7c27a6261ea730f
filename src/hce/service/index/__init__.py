"""The gateway's local index: its patients, what it wrote for them, what it asked for and was granted. SQLite, one file, mode 0600.

In: facts the gateway has just made durable elsewhere. Out: rows. Called by the gateway only. Never: private keys (they are in the
keyring), never a node. Losing it loses convenience, not records: those are on the network.
"""
