"""The tests mirror the rooms of `server/fanwise/`: `tests/<room>/test_<module>.py` for each module.

`system/` has whole server processes, `browser/` what runs in Chromium, `support/` what tests share.
"""
