"""Everything that talks to a model hub or a package registry."""
