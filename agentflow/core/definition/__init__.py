"""Workflows as YAML text and back."""
