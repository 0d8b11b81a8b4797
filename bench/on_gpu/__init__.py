"""The parts of bench_gpu.py, a module for each, and what they share."""
