"""The engine: plain Python, NumPy, torch, FAISS and SQL, usable from a notebook and from `training`."""
