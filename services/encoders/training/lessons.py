"""Lessons: modules whose forward pass is the loss of a batch, over an encoder that is adapted."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from encoders.training.losses import cosent_loss, ranking_loss
from encoders.training.network import Adapted, Ragged

NO_INTENT = -1


class IntentLesson(nn.Module):
    """Phrasings of one intent belong together, and away from those of the intents that are taken for it.

    An example is an intent. A batch takes some phrasings of it, and of `neighbours` intents drawn from its hardest
    ones; intents of another data set are no negatives, as two sets may ask the same. Texts that are out of scope for a
    set are negatives for its own.
    """

    def __init__(
        self,
        encoder: Adapted,
        texts: Ragged,
        intents: Sequence[int],
        sets: Sequence[int],
        *,
        hard: Mapping[int, Sequence[int]],
        phrasings: int,
        neighbours: int,
        strangers: int,
        temperature: float,
    ) -> None:
        """Makes the lesson.

        Args:
            encoder: to be trained.
            texts: what its frozen layers made of the texts.
            intents: of each text; NO_INTENT for one that is out of scope.
            sets: of each text, the number of its data set.
            hard: for each intent the intents that it is taken for, hardest first.
            phrasings: of each intent in a batch.
            neighbours: hard intents beside each example.
            strangers: texts out of scope in a batch.
            temperature: of the loss.

        """
        super().__init__()
        self.encoder = encoder
        self.register_buffer("rows", texts.rows, persistent=False)
        self.register_buffer("lengths", texts.lengths, persistent=False)
        self.register_buffer("intents", torch.tensor(intents), persistent=False)
        self.register_buffer("sets", torch.tensor(sets), persistent=False)
        numbers = np.array(intents)
        self._own = {int(intent): torch.from_numpy(np.flatnonzero(numbers == intent)) for intent in np.unique(numbers)}
        self._hard = {intent: torch.tensor(list(others)) for intent, others in hard.items()}
        self._phrasings, self._neighbours, self._strangers = phrasings, neighbours, strangers
        self._temperature = temperature

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of a batch of `intent` int64 [examples]."""
        places = self._drawn(batch["intent"]).to(self.get_buffer("lengths").device)
        texts = Ragged(self.get_buffer("rows"), self.get_buffer("lengths")).take(places)
        vectors = self.encoder(texts)
        intents, sets = self.get_buffer("intents")[places], self.get_buffer("sets")[places]
        known = intents != NO_INTENT
        same = (intents[:, None] == intents) & known[:, None]
        different = (intents[:, None] != intents) & (sets[:, None] == sets) & known[:, None]
        return ranking_loss(vectors, same, different, self._temperature)

    def _drawn(self, examples: Tensor) -> Tensor:
        """The places of a batch's texts; each intent at most once."""
        intents: dict[int, None] = {}
        for example in examples.tolist():
            others = self._hard[example]
            drawn = others[torch.randperm(len(others))[: self._neighbours]]
            intents |= dict.fromkeys([example, *drawn.tolist()])
        own = [self._sample(self._own[intent], self._phrasings) for intent in intents]
        if NO_INTENT in self._own and self._strangers:
            own.append(self._sample(self._own[NO_INTENT], self._strangers))
        return torch.cat(own)

    @staticmethod
    def _sample(places: Tensor, count: int) -> Tensor:
        return places[torch.randperm(len(places))[:count]]


class PairLesson(nn.Module):
    """Pairs that ask the same are nearer than pairs that do not, and nearer than other questions of the batch."""

    def __init__(
        self,
        encoder: Adapted,
        texts: Ragged,
        first: Sequence[int],
        second: Sequence[int],
        same: Sequence[bool],
        sets: Sequence[int],
        *,
        temperature: float,
        ranking: float,
        ranking_temperature: float,
    ) -> None:
        """Makes the lesson.

        Args:
            encoder: to be trained.
            texts: what its frozen layers made of the distinct questions.
            first: the place of each pair's first question.
            second: of its second.
            same: whether both ask the same.
            sets: of each pair, the number of its data set: only pairs of one set are compared.
            temperature: of the CoSENT loss.
            ranking: the weight of the ranking loss beside it, 0 for none.
            ranking_temperature: of that.

        """
        super().__init__()
        self.encoder = encoder
        self.register_buffer("rows", texts.rows, persistent=False)
        self.register_buffer("lengths", texts.lengths, persistent=False)
        for name, values in (("first", first), ("second", second), ("same", same), ("sets", sets)):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self._temperature, self._ranking, self._ranking_temperature = temperature, ranking, ranking_temperature

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of a batch of `pair` int64 [pairs]."""
        chosen = batch["pair"]
        first, second, same, sets = (self.get_buffer(name)[chosen] for name in ("first", "second", "same", "sets"))
        texts = Ragged(self.get_buffer("rows"), self.get_buffer("lengths"))
        vectors = self.encoder(texts.take(torch.cat([first, second])))
        one, other = vectors.chunk(2)
        cosines = (one * other).sum(dim=1)
        numbers = sorted(set(sets.tolist()))
        loss = torch.stack(
            [cosent_loss(cosines[sets == number], same[sets == number], self._temperature) for number in numbers]
        ).mean()
        if self._ranking:
            loss = loss + self._ranking * self._in_batch(one, other, first, second, same, sets)
        return loss

    def _in_batch(
        self, one: Tensor, other: Tensor, first: Tensor, second: Tensor, same: Tensor, sets: Tensor
    ) -> Tensor:
        """Each question of a pair that asks the same against the second questions of all other pairs of its set."""
        own = torch.eye(len(one), dtype=torch.bool, device=one.device)
        repeated = (second[:, None] == second) | (first[:, None] == second) | (first[:, None] == first)
        different = (sets[:, None] == sets) & ~(repeated & ~own) & ~(own & same)
        scores = one @ other.T / self._ranking_temperature
        negatives = scores.masked_fill(~different, -torch.inf).logsumexp(dim=1)
        return torch.nn.functional.softplus(negatives - scores.diagonal())[same].mean()
