"""What outlives the process: one SQLite file with every run, its events, its outputs and the answers it paid for.

`journal.py` fills the Journal port of `core/journal.py`. Events go through a queue to one writer thread (`writer.py`),
which makes rows of them (`batch.py`) and commits them in groups. Reading opens a connection of its own (`history.py`)
and folds the same events into the same `RunResult` (`fold.py`).
"""
