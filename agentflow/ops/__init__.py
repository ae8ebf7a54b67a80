"""Running workflows for real: what is deployed, logs and metrics, health, diagnosis."""
