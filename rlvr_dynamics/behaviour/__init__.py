"""How the trained model's answers differ from its base's: the optional stage `behaviour`.

The trained model answers questions greedily; the base reads these answers token by token. How often
would the base have written another token, and where in the answer? How surprised is it? How far did
the token embeddings move? How few tokens of a trained answer suffice for the base to continue it?
Source: AlphaRL, arXiv 2510.00553, figures 5b, 12a to 12c and 14.

And under the checkpoints in between: is the log-probability of a token a line in the step, how far
is each checkpoint from the base? Source: arXiv 2601.04537; the nulls are ours.

A *writer* wrote the text, a *reader* assigns a probability to each of its tokens; a *guide* is the
writer whose first tokens the base continues. Controls: the base reading its own text, and a random
update of the same norm in place of the trained model.
"""
