"""Tests of serve_app.pools, one file for each module of it."""
