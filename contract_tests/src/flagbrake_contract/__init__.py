"""The contract every flagbrake adapter must pass."""
