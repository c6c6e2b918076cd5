"""Code that builds the site: hooks of MkDocs, and pages that are made from the package."""
