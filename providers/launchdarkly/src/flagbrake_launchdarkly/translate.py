"""Pure: launchdarkly documents <-> the model; every loss is a value."""
