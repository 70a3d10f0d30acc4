"""The commands of ``commsim``: each parses what was written, calls the packages and prints."""
