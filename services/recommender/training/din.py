"""DIN: a ranker whose attention over the live sequence is asked by each candidate.

Zhou et al., Deep Interest Network for Click-Through Rate Prediction, KDD 2018: the local activation unit (weights that
are not normalised, so that their sum keeps the strength of an interest) and the Dice activation.

The towers' cosine is added to the network's logit at the end, with one weight: it does not pass through the network.
The towers have learned from the same events, and fit them better than events to come; a network that saw their score
there would trust it too much. So the weight is chosen on the validation part, which neither has learned from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from recommender.features import AGE_BANDS, HISTORY_LENGTH, TOWER_SIMILARITY, USER_STATISTICS
from recommender.training.dssm import initialise, mean_of_present, year_rows
from recommender.training.vocabulary import Vocabularies

CONTENT = 16
YEAR = 8


@dataclass(frozen=True, slots=True)
class DinHyperparameters:
    """What a search may turn. `identity` is the width of an item's embedding; `id_dropout` as in the towers."""

    identity: int = 32
    attention: int = 16
    hidden: int = 96
    dropout: float = 0.2
    id_dropout: float = 0.1


class Dice(nn.Module):
    """A PReLU whose bend follows the data: p(s) s + (1 - p(s)) alpha s, p the sigmoid of s standardised per batch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.standardise = nn.BatchNorm1d(width, affine=False, eps=1e-5)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, values: Tensor) -> Tensor:
        """float32 [..., width], same shape back."""
        flat = values.reshape(-1, values.shape[-1])
        share = torch.sigmoid(self.standardise(flat)).reshape(values.shape)
        return values * (share + (1 - share) * self.alpha)


class Din(nn.Module):
    """Scores C candidates for each of B users. The forward pass of training takes labels too: `DinLoss`.

    `vocabulary_items`: categories and years, as rows, of every vocabulary row, for the history's content.
    """

    def __init__(
        self,
        vocabularies: Vocabularies,
        hyperparameters: DinHyperparameters,
        vocabulary_items: Mapping[str, Tensor],
        statistics: "Standardisation",
    ) -> None:
        super().__init__()
        self.hyperparameters = hyperparameters
        self.first_year, self.last_year = vocabularies.first_year, vocabularies.last_year
        item = hyperparameters.identity + CONTENT + YEAR
        attention = hyperparameters.attention
        self.identity = nn.Embedding(len(vocabularies.items) + 1, hyperparameters.identity, padding_idx=0)
        self.category = nn.Embedding(len(vocabularies.categories) + 1, CONTENT, padding_idx=0)
        self.year = nn.Embedding(self.last_year - self.first_year + 2, YEAR, padding_idx=0)
        self.age = nn.Embedding(len(AGE_BANDS) + 1, YEAR)
        self.gender = nn.Embedding(len(vocabularies.genders) + 1, YEAR)
        self.occupation = nn.Embedding(len(vocabularies.occupations) + 1, YEAR)
        self.rating = nn.Embedding(6, item)
        self.position = nn.Embedding(HISTORY_LENGTH, attention)
        for embedding in (self.identity, self.category, self.year, self.age, self.gender, self.occupation):
            initialise(embedding)
        initialise(self.rating)
        initialise(self.position)
        # A linear layer over (h, c, h - c, h * c), DIN's input, is one over (h, c, h * c): three small products in
        # place of one wide one, and the first is computed once for all candidates. The product is taken of narrowed
        # items, which bounds what each of the N x 32 pairs costs.
        self.attend_history = nn.Linear(item, attention)
        self.attend_candidate = nn.Linear(item, attention)
        self.narrow = nn.Linear(item, attention)
        self.attend_product = nn.Linear(attention, attention)
        self.attend_dice = Dice(attention)
        self.attend_score = nn.Linear(attention, 1)
        self.standardise_user = statistics.user
        self.standardise_candidate = statistics.candidate
        width = 3 * item + 3 * YEAR + len(USER_STATISTICS) + TOWER_SIMILARITY
        self.layers = nn.Sequential(
            nn.Linear(width, hyperparameters.hidden),
            Dice(hyperparameters.hidden),
            nn.Dropout(hyperparameters.dropout),
            nn.Linear(hyperparameters.hidden, hyperparameters.hidden // 2),
            Dice(hyperparameters.hidden // 2),
            nn.Dropout(hyperparameters.dropout),
            nn.Linear(hyperparameters.hidden // 2, 1),
        )
        self.register_buffer("similarity_weight", torch.zeros(()))
        self.register_buffer("usual_similarity", torch.zeros(()))
        self.register_buffer("usual_logit", torch.zeros(()))
        self.register_buffer("logit_spread", torch.ones(()))
        self.register_buffer("known_categories", vocabulary_items["item_categories"], persistent=False)
        self.register_buffer("known_years", vocabulary_items["item_year"], persistent=False)

    def trust_towers(self, weight: float, usual: float) -> None:
        """Lets a cosine that is 1 above the `usual` one of candidates add `weight` to the logit, except in training.

        0 stands for a cosine that is not known: it counts as the usual one.
        """
        self.get_buffer("similarity_weight").fill_(weight)
        self.get_buffer("usual_similarity").fill_(usual)

    def score_around(self, usual: float, spread: float) -> None:
        """Takes the mean and the deviation of candidates' logits, for `scores`."""
        self.get_buffer("usual_logit").fill_(usual)
        self.get_buffer("logit_spread").fill_(spread)

    def scores(self, logits: Tensor) -> Tensor:
        """0 to 1, the usual candidate at 0.5: spread out, where a sigmoid of the logits would call all the best ones 1.

        Re-ranking weighs differences of scores against likeness, and drift is watched over ten bins of them.
        """
        return torch.sigmoid((logits - self.get_buffer("usual_logit")) / self.get_buffer("logit_spread"))

    def begin_with(self, vectors: Tensor) -> None:
        """Lets the items' embeddings begin as `vectors`: float32 [V+1, identity], row 0 zero."""
        if vectors.shape != self.identity.weight.shape:
            raise ValueError(f"vectors must be {tuple(self.identity.weight.shape)}, received {tuple(vectors.shape)}")
        with torch.no_grad():
            self.identity.weight.copy_(vectors)

    def history_table(self) -> Tensor:
        """Every vocabulary row's representation: float32 [V+1, item]; row 0 (unknown) is zero."""
        categories, years = self.get_buffer("known_categories"), self.get_buffer("known_years")
        rows = torch.arange(len(years), device=years.device)[:, None]
        represented = self._items(rows, categories, years)
        return torch.cat([torch.zeros_like(represented[:1]), represented[1:]])

    def forward(
        self,
        history_items: Tensor,
        history_ratings: Tensor,
        user_age_bucket: Tensor,
        user_gender: Tensor,
        user_occupation: Tensor,
        user_statistics: Tensor,
        candidate_items: Tensor,
        candidate_categories: Tensor,
        candidate_year: Tensor,
        candidate_statistics: Tensor,
        table: Tensor,
    ) -> Tensor:
        """Logits float32 [B, C]; candidates [B, C, ...], users [B, ...], rows in the place of fingerprints."""
        candidates = self._items(candidate_items, candidate_categories, candidate_year)
        stars = history_ratings.round().clamp(0, 5).long()
        present = history_items > 0
        history = (table[history_items] + self.rating(stars)) * present.unsqueeze(-1)
        interest = self._interest(history, present, candidates)
        user = torch.cat(
            [
                self.age(user_age_bucket.clamp(0, len(AGE_BANDS)))[:, 0],
                self.gender(user_gender)[:, 0],
                self.occupation(user_occupation)[:, 0],
                self.standardise_user(user_statistics),
            ],
            dim=1,
        )
        user = user[:, None].expand(-1, candidates.shape[1], -1)
        known = self.standardise_candidate(candidate_statistics[..., :TOWER_SIMILARITY])
        network: Tensor = self.layers(torch.cat([candidates, interest, candidates * interest, user, known], dim=-1))
        logits = network[..., 0]
        if self.training:
            return logits
        similarity = candidate_statistics[..., TOWER_SIMILARITY]
        unusual = torch.where(similarity == 0, 0.0, similarity - self.get_buffer("usual_similarity"))
        return logits + self.get_buffer("similarity_weight") * unusual

    def _items(self, ids: Tensor, categories: Tensor, years: Tensor) -> Tensor:
        """Rows [..., 1], [..., 6] and years [..., 1] to float32 [..., item]."""
        if self.training:
            ids = ids * (torch.rand(ids.shape, device=ids.device) >= self.hyperparameters.id_dropout)
        year = self.year(year_rows(years, self.first_year, self.last_year))[..., 0, :]
        return torch.cat([self.identity(ids)[..., 0, :], mean_of_present(self.category, categories), year], dim=-1)

    def _interest(self, history: Tensor, present: Tensor, candidates: Tensor) -> Tensor:
        """The history as each candidate sees it: float32 [B, C, item]."""
        product = self.narrow(history)[:, None] * self.narrow(candidates)[:, :, None]
        activation = (
            (self.attend_history(history) + self.position.weight)[:, None]
            + self.attend_candidate(candidates)[:, :, None]
            + self.attend_product(product)
        )
        weights = self.attend_score(self.attend_dice(activation))[..., 0] * present[:, None]
        # By the square root of the longest history: sums of up to 32 terms would drown the other inputs.
        interest: Tensor = weights @ history / HISTORY_LENGTH**0.5
        return interest


class DinLoss(nn.Module):
    """Binary cross entropy of a batch: DIN's inputs and `labels` float32 [B, C]."""

    def __init__(self, din: Din) -> None:
        super().__init__()
        self.din = din

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The mean loss over users and candidates."""
        inputs = dict(batch)
        labels = inputs.pop("labels")
        logits = self.din(**inputs, table=self.din.history_table())
        return functional.binary_cross_entropy_with_logits(logits, labels)


class Standardise(nn.Module):
    """Takes a column's mean away and divides by its deviation, both from the training set and part of the graph."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        flat = values.reshape(-1, values.shape[-1])
        self.register_buffer("mean", flat.mean(dim=0))
        self.register_buffer("deviation", flat.std(dim=0).clamp(min=1e-3))

    def forward(self, values: Tensor) -> Tensor:
        """float32 [..., columns]; at most 5 deviations: live traffic must not push a feature past what was learned."""
        standardised = (values - self.get_buffer("mean")) / self.get_buffer("deviation")
        return standardised.clamp(-5, 5)


@dataclass(frozen=True, slots=True)
class Standardisation:
    """How the two groups of statistics are standardised."""

    user: Standardise
    candidate: Standardise
