"""How exits hold against someone who chooses the text: edits, goals, a greedy search, its rows."""
