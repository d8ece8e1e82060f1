"""The SQL provider of flagbrake."""
