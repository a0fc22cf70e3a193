"""What does Venturi cost on top of vLLM's own server? Benchmarks: run by hand, never by the tests."""
