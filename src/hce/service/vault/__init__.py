"""The person's and the gateway's side of a record: derive keys, seal, open, grant, read the log.

In: keys, cards, bytes from nodes and state values the caller has already proven. Out: signed and sealed bytes, or plaintext, or a
named error. Called by the gateway, the SDK and the person's tools. Never: sockets, files, clocks; randomness is handed in
(`Random`). Nodes never import it: code that may see plaintext and code that must not never meet.
"""
