"""Checkpoints for machines without a way out: fetched once, checked by their hashes, carried over."""
