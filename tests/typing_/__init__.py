"""What users write, for mypy: nothing here is run."""
