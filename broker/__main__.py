"""`python -m broker` is the same as the console script `broker`."""

from broker.cli.main import app

if __name__ == "__main__":
    app()
