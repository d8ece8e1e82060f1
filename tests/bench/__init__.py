"""Benchmarks: ``python -m tests.bench NAME [--json]``. Each prints one object of figures."""
