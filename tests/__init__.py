"""The tests mirror `server/`: `tests/test_<module>.py` for each module, and a few for the whole."""
