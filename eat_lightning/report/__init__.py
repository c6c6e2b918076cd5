"""From rows to tables, figures and a page.

`study` opens rows and their examples, `claim` is what a script of experiments/ makes of them,
`table`, `figures` and `page` show it. `columns`, `compare` and `statistics` are for claims.
"""
