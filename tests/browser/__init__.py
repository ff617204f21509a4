"""What runs in a real browser."""
