"""Tests of serve_app.ingress, one file for each module of it."""
