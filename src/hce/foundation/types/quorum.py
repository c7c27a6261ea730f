"""The two fractions that everything counts with. Used everywhere, derived nowhere else."""


def quorum(n: int) -> int:
    """Votes that make a block final, and signatures of an attestation: more than two thirds of n (7 of 9)."""
    return 2 * n // 3 + 1


def two_thirds(n: int) -> int:
    """Consent votes and key shares: two thirds of n, rounded up (6 of 9)."""
    return -(-2 * n // 3)
