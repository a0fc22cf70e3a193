"""Pools of engine replicas, each with one engine configuration."""
