"""`python -m eat_lightning.serve`, the same as `eat serve`. To be run, and not imported."""

from eat_lightning.deploy.serve.command import main

if __name__ == "__main__":
    main()
