"""What the tables and figures share."""
