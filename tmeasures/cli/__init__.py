"""The command line: arguments and printing only; what they do is the library's."""

from tmeasures.cli.app import app, main

__all__ = ["app", "main"]
