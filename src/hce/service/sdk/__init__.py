"""Python client of HCE: everything an organisation, a person or a tool does on the network, verified by the client itself.

In: node addresses, a genesis, keys. Out: final results with their proofs already checked. Does all I/O for the pure `vault`.
Light: no storage, no contracts. Never believes a node: commits, state values, blobs and partials are verified here.
"""
