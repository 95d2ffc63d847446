"""A run while it trains, as its directory shows it; nothing here writes into it but the page."""
