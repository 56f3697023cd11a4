"""The server to compare with: FastAPI, sentence-transformers and FAISS, as one writes them in half an hour.

    python plain_server.py MODEL_FOLDER QUESTIONS VECTORS.npy PORT

Started by servers.py. Embeds the questions itself if there is no file of vectors.
"""

import json
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

folder, file, vectors_file, port = sys.argv[1:]
lines = Path(file).read_text("utf-8").split("\n")[:-1]
questions = [
    {"id": f"q{number}", "text": json.loads(f'"{line}"')} for number, line in enumerate(lines)
]
model = SentenceTransformer(folder)
if model.device.type == "cuda":
    model.half()  # a GPU's own precision
if Path(vectors_file).exists():
    vectors = np.load(vectors_file)
else:
    vectors = model.encode([question["text"] for question in questions], normalize_embeddings=True)
index = faiss.IndexFlatIP(vectors.shape[1])
index.add(vectors)
app = FastAPI()


class Query(BaseModel):
    """Questions to look for."""

    questions: list[str]
    top_k: int = 5


@app.post("/duplicates")
def find_duplicates(query: Query) -> dict[str, Any]:
    """The most similar questions for each."""
    found = index.search(model.encode(query.questions, normalize_embeddings=True), query.top_k)
    return {
        "results": [
            {
                "question": text,
                "candidates": [
                    {**questions[i], "similarity": float(s)} for s, i in zip(*row, strict=True)
                ],
            }
            for text, *row in zip(query.questions, *found, strict=True)
        ]
    }


uvicorn.run(app, port=int(port), access_log=False, log_level="warning")
