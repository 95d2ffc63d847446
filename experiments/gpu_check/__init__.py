"""One hour on a GPU that shows whether the grid's cells would run: nine steps, each a few minutes.

`python -m experiments.gpu_check` runs the product's own commands and reads its own tables. A step
is a plain function that returns findings (`finding`); `runner` takes the steps in order, and
`report` writes what was found.
"""
