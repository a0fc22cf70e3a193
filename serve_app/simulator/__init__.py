"""What would a cluster do under a load? Production policy over simulated engines, without a GPU."""
