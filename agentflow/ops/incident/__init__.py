"""An incident: how severe it is, what happened when, what to tell others, and the evidence of it."""
