"""Turn rows into tables, figures and a page.

`study` opens rows and their examples, a claim script in experiments/ turns them into sections, and
`table`, `figures` and `page` render these. `columns`, `compare` and `statistics` help claims.
"""
