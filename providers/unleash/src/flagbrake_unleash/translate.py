"""Pure: unleash documents <-> the model; every loss is a value."""
