"""Tests of serve_app.engine, one file for each module of it."""
