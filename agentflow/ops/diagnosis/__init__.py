"""From records of runs to causes: deterministic rules, with the evidence for what they find."""
