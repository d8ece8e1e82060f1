"""Kills on the data plane: the convention, the board, the guard around any provider, the halt."""
