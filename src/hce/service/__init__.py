"""服务层. What the agreed order means, and how software talks to it.

Rooms of the node (ledger, contracts, keyholders, mailbox, intake, api) and rooms of the gateway (keyring, vault, fhir)
never import each other: code that may see plaintext and code that must not never meet. `terms` and `sdk` serve both.
"""
