"""What a run needs before it starts: memory, disk and time from its shapes.

Pure functions of the configuration. Parameters and disk are exact counts; memory is a sum of its
known large parts, with an allowance for the rest; times are ranges, from answer lengths and rates
whose sources stand where they are used.
"""
