"""What the trained model says that its base would not: the optional stage `behaviour`.

The trained model answers questions greedily; the base reads these answers token by token. How
often would the base have written another token, where in the answer, how surprised is it, how far
did the token embeddings move, and how few tokens of a trained answer set the base on its way?
Source: AlphaRL, arXiv 2510.00553, figures 5b, 12a to 12c and 14.

A *writer* wrote the text, a *reader* gives every token of it a probability; a *guide* is the
writer whose first tokens the base continues. Controls: the base reading its own text, and a
random update of the same norm in the place of the trained model.
"""
