"""Base models, and what is done with any model: load, generate, losses, embeddings, the chat client."""
