"""The offline module: labelled pairs in, releases out. Run it as `python -m training`."""
