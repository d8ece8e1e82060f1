"""Pure: split documents <-> the model; every loss is a value."""
