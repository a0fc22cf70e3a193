"""Tests over HTTP against running systems of real engines."""
