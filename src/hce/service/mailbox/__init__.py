"""The node's mailbox: everything of people that must be deletable, addressed by opaque ids, bounded in size and age.

    places.py    which compartment a feed or log belongs to: only its current owner key acts as owner
    cards.py     the newest contact card of each feed
    inbox.py     organisations' inboxes: the oldest makes room, nobody fills one alone
    nonces.py    signed requests seen, by asker
    rules.py     pure: who may read, write and erase what; which lane a feed entry takes
    tokens.py    write tokens that hold no more
    ownreads.py  receipts of the owner's own reading
    quotas.py    the bounds
    slots.py     per-record keys in a file that is overwritten, so that erasing is real
    records.py   envelopes and owner wraps under those keys, tombstones
    streams.py   numbered items: feeds, quarantine, inboxes, logs
    anchors.py   leaves of release receipts by period, for the node's anchors on chain
    replica.py   what peers are told and what is taken over from them
    catchup.py   a node that was away asks its peers
    rebuild.py   damaged tables, made anew from what can be read
    deposits.py  what senders of batches were answered
    service.py   one mailbox: check, store, answer
    final.py     what the node's rooms see of the ledger

In: deposits of the intake, posts, signed reads and acts. Out: pages, deletion receipts, named refusals. Called by the intake, the
keyholders and the node's API. Never: opens anything, learns who the people are, serves what was erased.
"""
