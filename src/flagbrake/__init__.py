"""Feature flags with a brake."""
