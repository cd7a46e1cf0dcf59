"""The ground: what we know of tablets, and the conversation with them."""
