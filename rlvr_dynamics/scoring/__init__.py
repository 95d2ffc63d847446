"""Benchmarks, generation with vLLM, grading and statistics."""
