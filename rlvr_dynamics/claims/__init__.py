"""Every quantitative claim and its verdict."""
