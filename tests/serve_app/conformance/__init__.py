"""Tests of serve_app.conformance, one file for each module of it."""
