"""The portal as people load it: the built page (`web/src`), served on an origin of its own, and the check that it is what was built.

In: the bundle that `make install` puts into `bundle/`, and the network's folder, for the addresses of nodes and gateways. Out: files and
one description of the network over HTTP. Called by `hce up` and `hce verify-portal`.

A process of its own, for it must share nothing: it holds no key, sees no record and no token, and a fault in it ends no node and no
gateway. It never asks anybody anything, and never serves a file that is not in the bundle.
"""
