"""What every room may use: settings from the environment, and logging."""
