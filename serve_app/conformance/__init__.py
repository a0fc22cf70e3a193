"""Does a server keep to its dialects, and does its model answer? It is asked over HTTP, and nothing else."""
