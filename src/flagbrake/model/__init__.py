"""The nouns: frozen, vendor-free, no I/O."""
