"""Why a step ran or did not, and what an edited workflow gives for the inputs of past runs."""
