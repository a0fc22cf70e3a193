"""Tests of servers that are not ours."""
