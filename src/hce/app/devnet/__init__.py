"""The demo network: genesis, keys of all demo operators, demo organisations and people. For development only.

In: an empty folder. Out: the folder layout of `home.py`. It holds every node's keys in one place, which no real network may.
"""
