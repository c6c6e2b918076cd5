"""From rows to tables, figures and a page.

`study` opens rows and their examples, `claim` is what a script of experiments/ makes of them,
`tables`, `figures` and `page` show it; the rest are what the claims count and draw.
"""
