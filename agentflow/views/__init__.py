"""How a run shows itself: as a table, as text, as HTML and as a chart. Pure functions of a `RunResult`."""
