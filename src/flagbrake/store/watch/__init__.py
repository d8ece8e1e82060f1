"""Waiting for commits: one small file per database."""
