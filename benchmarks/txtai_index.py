"""An index of txtai over questions whose vectors are there already; run by servers.py in txtai's own environment.

python txtai_index.py MODEL_FOLDER QUESTIONS VECTORS.npy INDEX_FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
from txtai.embeddings import Embeddings

model, questions, vectors, folder = sys.argv[1:]
texts = [json.loads(f'"{line}"') for line in Path(questions).read_text("utf-8").split("\n")[:-1]]
rows = iter(np.load(vectors))
embeddings = Embeddings(
    method="external", transform=lambda batch: np.stack([next(rows) for _ in batch]), content=True
)
embeddings.index(enumerate(texts))
for name in ("method", "transform"):
    embeddings.config.pop(name)
embeddings.config["path"] = model  # what embeds the questions that are asked
embeddings.save(folder)
