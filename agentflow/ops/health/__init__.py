"""Health of what runs depend on: checked once, or served to whoever supervises the process."""
