"""Learning labels of notes and pieces.

One data set, one criterion, one module of sums and one loader of checkpoints serve ratings and performers
(`ratings.py`), sentence tasks (`sentences.py`) and taggers (`taggers.py`); a task names what it learns as
`Term`s.
"""
