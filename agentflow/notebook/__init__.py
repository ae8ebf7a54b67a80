"""Jupyter itself: what `%load_ext agentflow` brings."""
