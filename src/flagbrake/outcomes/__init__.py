"""Outcomes on the data plane: runs, tracking, the bounded queue."""
