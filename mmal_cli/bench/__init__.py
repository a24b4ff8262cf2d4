"""Figures measured in one run, side by side with a plain reference where there is one.

An item is a file with `run(on_progress) -> list[dict]`, a row for each line of its table; one that draws has
`draw(rows, path)` too.
"""
