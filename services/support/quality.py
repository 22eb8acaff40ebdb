"""How sure the answers are: calibrations fitted anew to labelled questions, and every replica brought up to them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from chassis import database, logs
from chassis.errors import Unavailable
from support.calibration import WAYS, Calibration, Calibrations, Example, Way, fit
from support.corpus import Bases
from support.knowledge import LANGUAGES, Candidate, KnowledgeBase, LabelledQuestion, Language
from support.retrieval import WITHOUT_MODEL, HybridRetriever
from support.store import DATABASE, InForce, Store

PATIENCE_SECONDS = 5.0
"""How long a labelled question waits for its vector: no customer waits for it."""
WITHIN_SECONDS = 30.0
"""How long PostgreSQL may take over a look. What was taken up by then counts."""

_log = logs.logger(__name__)


class Quality:
    """Fits calibrations, chooses risks, and follows what other replicas did of either."""

    def __init__(
        self,
        store: Store,
        bases: Bases,
        retriever: HybridRetriever,
        calibrations: Calibrations,
        now: Callable[[], datetime],
        most_questions: int,
        concurrency: int,
    ) -> None:
        """`most_questions` of a language are fitted to, `concurrency` of them retrieved at a time."""
        self._store = store
        self._bases = bases
        self._retriever = retriever
        self._calibrations = calibrations
        self._now = now
        self._most_questions = most_questions
        self._room = asyncio.Semaphore(concurrency)
        self._changing = asyncio.Lock()
        """Held from what is read or written in the store until it counts here, so that nothing older undoes it."""
        self._held: dict[tuple[KnowledgeBase, Language], InForce] = {}

    async def run(self, poll_seconds: float) -> None:
        """Follows until cancelled; while PostgreSQL is away, what is known goes on counting."""
        while True:
            try:
                async with database.within(WITHIN_SECONDS, DATABASE):
                    await self.refresh()
            except Unavailable as error:
                _log.warning("calibrations and risks are not refreshed now", why=str(error))
            await asyncio.sleep(poll_seconds)

    async def refresh(self) -> None:
        """Takes up what has been stored. Raises Unavailable."""
        async with self._changing:
            for stored in await self._store.in_force():
                place = (stored.base, stored.language)
                held = self._held.get(place)
                if stored.version and (held is None or held.version != stored.version):
                    await self._take_up(*place, stored.version)
                if stored.target_risk is not None:
                    self._calibrations.aim(*place, stored.target_risk)
                self._held[place] = stored

    async def _take_up(self, base: KnowledgeBase, language: Language, version: str) -> None:
        """One that cannot be read stays unread until another takes its place: a newer release may have written it."""
        try:
            calibration = await self._store.calibration(base, language)
        except ValueError as error:
            where = {"base": base.name, "tenant": base.tenant, "language": language, "version": version}
            _log.warning("a calibration cannot be read, the one before goes on counting", **where, why=str(error))
            return
        if calibration is not None:
            self._calibrations.put(base, language, calibration)

    async def aim(self, base: KnowledgeBase, languages: Sequence[Language], target_risk: float, chosen_by: str) -> None:
        """Chooses the share of wrong answers that is accepted. Raises Unavailable."""
        async with self._changing:
            await self._store.set_target_risk(base, languages, target_risk, chosen_by)
            for language in languages:
                self._calibrations.aim(base, language, target_risk)

    async def calibrate(self, base: KnowledgeBase) -> Mapping[Language, Calibration]:
        """Fits each language that has enough labelled questions; the others stay as they are. Raises Unavailable."""
        fitted: dict[Language, Calibration] = {}
        for language in LANGUAGES:
            questions, read_at = await self._store.questions(base, language, self._most_questions)
            examples = await self._examples(base, questions)
            calibration = await asyncio.to_thread(fit, examples, self._now())
            if calibration is None:
                continue
            async with self._changing:
                await self._store.put_calibration(base, language, calibration, read_at)
                self._calibrations.put(base, language, calibration)
            # As it counts here: at the risk that was chosen.
            fitted[language] = self._calibrations.of(base, language)
            _log.info("calibrated", base=base.name, language=language, version=calibration.version, ece=calibration.ece)
        return fitted

    async def _examples(
        self, base: KnowledgeBase, questions: Sequence[LabelledQuestion]
    ) -> Mapping[Way, list[Example]]:
        """What the running index makes of each question, with the model server and without."""
        answerable = [each for each in questions if self._is_answerable(base, each)]
        tasks = {way: [asyncio.ensure_future(self._top(base, each, way)) for each in answerable] for way in WAYS}
        every = [task for each in tasks.values() for task in each]
        try:
            await asyncio.gather(*every)
        finally:
            for task in every:
                task.cancel()
        return {way: examples(answerable, [task.result() for task in each]) for way, each in tasks.items()}

    def _is_answerable(self, base: KnowledgeBase, question: LabelledQuestion) -> bool:
        """Whether the article that answers is there, and may: a question that nothing can answer now says nothing."""
        if question.article_id is None:
            return True
        article = self._bases.article(base, question.article_id)
        return article is not None and article.may_answer(self._now(), {article.audience})

    async def _top(self, base: KnowledgeBase, question: LabelledQuestion, way: Way) -> Candidate | None:
        article = self._bases.article(base, question.article_id or "")
        async with self._room:
            retrieved = await self._retriever.retrieve(
                base,
                question.question,
                question.language,
                now=self._now(),
                audiences=frozenset({article.audience} if article else ()),
                count=1,
                by_words_alone=way == "lexical",
                patience_seconds=PATIENCE_SECONDS,
            )
        if way == "hybrid" and WITHOUT_MODEL in retrieved.degraded:
            raise Unavailable("the model server", "a calibration needs it", retry_after_seconds=5.0)
        return next(iter(retrieved.candidates), None)


def examples(questions: Sequence[LabelledQuestion], tops: Sequence[Candidate | None]) -> list[Example]:
    """What can be fitted to, of questions and the best candidates that retrieval has for them.

    Where only a wrong article is known, the question says something as long as that one comes first. Where nothing was
    found, nothing would be answered: it counts below everything that was.
    """
    judged = [(question, top) for question, top in zip(questions, tops, strict=True) if _is_judged(question, top)]
    lowest = min((top.scores.reranked for _, top in judged if top is not None), default=0.0) - 1.0
    return [
        Example(
            logit=lowest if top is None else top.scores.reranked,
            top_is_right=top is not None and top.article.article_id == question.article_id,
            in_scope=question.article_id is not None or question.wrong_article_id is not None,
            from_feedback=question.from_feedback,
        )
        for question, top in judged
    ]


def _is_judged(question: LabelledQuestion, top: Candidate | None) -> bool:
    wrong = question.wrong_article_id
    return wrong is None or (top is not None and top.article.article_id == wrong)
