"""Calls wait for their turn: what an account may ask of a model, known or learned, and shared fairly."""
