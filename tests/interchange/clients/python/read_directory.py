"""A Hugging Face directory read by others' libraries: read_directory.py DIRECTORY REQUEST.json > ANSWER.json

Request: {"texts": [text, ..]}
Answer:  {"tensors": {name: {"shape": [..], "type": "float32", "values": [..]}},
          "sentencepiece": [[id, ..] a text], "tokenizers": [[id, ..] a text],
          "decoded": [text a text], "with_bos": [id, ..] of the first text}
"""

import json
import sys

import sentencepiece
from safetensors.numpy import load_file
from tokenizers import Tokenizer

directory, request_path = sys.argv[1:]
with open(request_path, encoding="utf-8") as file:
    texts = json.load(file)["texts"]

tensors = {
    name: {"shape": list(array.shape), "type": str(array.dtype), "values": array.astype("float64").ravel().tolist()}
    for name, array in load_file(f"{directory}/model.safetensors").items()
}
pieces = sentencepiece.SentencePieceProcessor(model_file=f"{directory}/tokenizer.model")
tokenizer = Tokenizer.from_file(f"{directory}/tokenizer.json")
with_bos = tokenizer.encode(texts[0]).ids
tokenizer.encode_special_tokens = True  # their names in a text are text
ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
json.dump(
    {
        "tensors": tensors,
        "sentencepiece": [pieces.encode(text) for text in texts],
        "tokenizers": ids,
        "decoded": [tokenizer.decode(some, skip_special_tokens=False) for some in ids],
        "with_bos": with_bos,
    },
    sys.stdout,
)
