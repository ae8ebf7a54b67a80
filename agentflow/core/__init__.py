"""The engine: workflows, steps and runs. Knows no notebook, no AWS and no DataFrame."""
