"""Tests of the pocket model: its data, its training and its format."""
