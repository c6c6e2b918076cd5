"""The documentation: its pages, notebooks and figures, and the code that builds the site."""
