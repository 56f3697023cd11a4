"""The pages that people work in: one file a screen, with its routes; templates and static files beside them."""
