"""Rollouts: plan, judge and machine decide (pure); the engine is the only loop; the service is what people use."""
