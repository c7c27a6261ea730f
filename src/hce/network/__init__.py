"""网络层. How machines agree on one order of opaque bytes, and keep each other's blocks."""
