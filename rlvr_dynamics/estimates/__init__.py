"""What a run needs before it starts: memory, disk and time from its shapes.

Pure functions of the configuration. Parameters and disk are exact counts; memory is a sum of its
known large parts, with an allowance for the rest; times rest on assumed lengths and utilisations,
named where they stand, and are good to a factor of about two.
"""
