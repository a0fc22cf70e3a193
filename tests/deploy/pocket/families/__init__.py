"""Tests of the families of questions."""
