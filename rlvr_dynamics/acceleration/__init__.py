"""When to jump, how far, whether to try and whether to keep it: pure functions, without files."""
