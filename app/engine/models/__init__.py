"""Texts in, vectors and logits out: tokenizers, models, and the backends that run them."""
