"""Are checkpoints fetched whole, checked without a network, and carried over unbroken?"""
