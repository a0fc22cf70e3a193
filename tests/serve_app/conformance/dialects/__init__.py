"""Tests of serve_app.conformance.dialects: each fault that a server could have is found, in words."""
