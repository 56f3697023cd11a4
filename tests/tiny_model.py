"""A real sentence-transformers model, small enough to build in a second and to run thousands of times."""

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers import CrossEncoder
from transformers import BertConfig, BertModel, BertTokenizer, DistilBertConfig, DistilBertModel

DIMENSION = 32
MAX_TOKENS = 48
PIECES = [*string.ascii_lowercase, *string.digits, *string.punctuation]


def build_tiny_model(
    folder: Path,
    kind: Literal["bert", "distilbert"] = "bert",
    dimension: int = DIMENSION,
    seed: int = 0,
    *,
    pieces: Sequence[str] = PIECES,
    lower_case: bool = True,
) -> Path:
    """A transformer with mean pooling and no normalising module, laid out as the hub's older models are.

    The tokenizer knows single characters (`pieces`), so that every text has tokens, and folds case or not; the
    weights are random but the same each time for the same seed.
    """
    torch.manual_seed(seed)
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *pieces,
        *(f"##{piece}" for piece in pieces),
    ]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    common = {"vocab_size": len(vocabulary), "max_position_embeddings": 64}
    model: BertModel | DistilBertModel
    if kind == "bert":
        sizes = {
            "hidden_size": dimension,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        }
        model = BertModel(BertConfig.from_dict({**sizes, **common}))
    else:
        sizes = {"dim": dimension, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
        model = DistilBertModel(DistilBertConfig.from_dict({**sizes, **common}))
    with torch.no_grad():  # wide embeddings, so that different words give clearly different vectors
        model.get_input_embeddings().weight.normal_(std=1.0)
    model.save_pretrained(folder, safe_serialization=True)
    BertTokenizer(str(folder / "vocab.txt"), do_lower_case=lower_case).save_pretrained(folder)
    _write(
        folder / "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS, "do_lower_case": False}
    )
    pooling = {"word_embedding_dimension": dimension, "pooling_mode_mean_tokens": True}
    _write(folder / "1_Pooling" / "config.json", pooling)
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling")]
    _write(
        folder / "modules.json",
        [
            {"idx": i, "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (name, path, kind) in enumerate(modules)
        ],
    )
    return folder


def build_tiny_classifier(base: Path, folder: Path, seed: int = 0) -> Path:
    """A CrossEncoder over a tiny model, with a wide random head, so that different pairs get different scores."""
    torch.manual_seed(seed)
    model: Any = CrossEncoder(str(base), num_labels=1, device="cpu")
    with torch.no_grad():
        model.model.classifier.weight.normal_(std=2.0)
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
