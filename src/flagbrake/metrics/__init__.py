"""Metric sources: where a rollout's evidence comes from. Only wiring names them."""
