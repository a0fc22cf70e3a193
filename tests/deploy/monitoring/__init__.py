"""Tests of deploy.monitoring."""
