"""One file per vendor: its bucketing, and what its SDK does that nobody else does. Imported when first needed."""
