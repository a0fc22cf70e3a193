"""Tests of serve_app.router, one file for each module of it."""
