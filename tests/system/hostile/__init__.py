"""Hostile peers as processes of their own, what others notice of them, and the aims that hold: `rows`."""
