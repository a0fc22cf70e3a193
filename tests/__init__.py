"""Tests of Venturi; the folders mirror the packages."""
