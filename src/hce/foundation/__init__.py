"""基础层. Types, codecs, cryptography, proofs and storage: no policy, no sockets, no clocks."""
