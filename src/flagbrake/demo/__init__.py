"""The demonstration: a small real agent over real text, rolled out, rolled back, killed and restored."""
