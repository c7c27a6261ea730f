"""The life of a record as a story that checks itself: each step does something real on the network and notes what was promised.

In: a running network (its own or one of `hce up`). Out: one result with every promise as a value, and the story in plain words.
"""
