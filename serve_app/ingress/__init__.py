"""The HTTP edge: what clients may send, and what they get back."""
