"""`python -m eat_lightning.rerank`, the same as `eat rerank`. To be run, and not imported."""

from eat_lightning.deploy.rerank.command import main

if __name__ == "__main__":
    main()
