"""Completion: what fits at the cursor, from the tree of commands and the names that are known. It imports little: shells wait.

words.py     which kind of word the cursor is at         names.py   environments and models, as promoter.yaml has them
shells.py    what each shell runs, and how it is answered store.py   what an earlier call has found out: aliases and versions
"""

from promoter.completion.answer import answer

__all__ = ["answer"]
