"""Tests of serve_app, one file for each module of it."""
