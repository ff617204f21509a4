"""Three gates that keep the hot path fast: `ratio`, `instructions` and `compare`. See `benchmarks/README.md`."""
