"""Links: one mutually authenticated TLS connection between every two nodes of the genesis, and what travels over it.

In: this node's certificate and key, the certificates and addresses of the others, messages to send. Out: messages of authenticated
peers, answers to requests, transactions somebody passed on, who is connected. Called by `app/node.py`; the consensus runtime drives
a `Link` as its `Network`, storage and mailbox use `request` and `serve`.
It never looks into a message, decides nothing about blocks, and speaks to nobody who is not in the genesis.

    frames.py        pure: kinds, bounds, fragments, the decoder of a byte stream
    messages.py      pure: what is inside hello, request, response and transaction frames
    outbox.py        pure: what waits to be sent to one peer, in lanes with bounds
    bounds.py        pure: rates, blame, backoff; time is handed in
    certificates.py  certificates made at genesis, TLS contexts that trust nothing else
    inbox.py         what peers sent and nobody has taken yet, fair between peers
    calls.py         requests and responses of one connection
    connection.py    one connection at work, from hello to the last byte
    link.py          all connections of a node; dialing and listening
"""
