"""One replica of the engine, and how to talk to it."""
