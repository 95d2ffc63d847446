"""The locked sets of packages (cpu.txt, gpu.txt) and the check that each of them resolves."""
