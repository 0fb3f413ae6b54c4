"""Composable transforms for reinforcement learning in JAX."""
