"""Where does a request go? Pure policy, and the dispatch that carries it out."""
