"""Many runs: a workflow over the rows of a table, and notebooks that run at night."""
