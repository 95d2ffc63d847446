"""Benchmarks, generation by vLLM, grading and statistics."""
