"""The running service, asked over gRPC as the gateway asks it: how fast, how soon a change, and how good."""

import asyncio
import itertools
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import psutil
from pydantic import SecretStr
from rich.console import Console

from casebook.support.v1 import knowledge_pb2, support_pb2
from casebook.support.v1.knowledge_pb2_grpc import KnowledgeServiceStub
from casebook.support.v1.support_pb2_grpc import SupportServiceStub
from chassis.identity import Identity, Role
from chassis.rpc import connect
from chassis.settings import Settings
from cli.console import TerminalEcho
from cli.home import Home
from cli.processes import ProcessSpec, free_ports, http_ready
from cli.supervisor import Supervisor
from loadtests.__main__ import started
from support.articles import MAX_PHRASING_CHARACTERS, MAX_TITLE_CHARACTERS
from support.knowledge import LANGUAGES, Language

ASK_SECONDS = 10.0
IMPORT_SECONDS = 60.0
INDEXED_SECONDS = 1_800.0
"""10,000 phrasings took 115 s in English alone, on two cores at rest; Chinese takes twice that again."""
REFRESHED_SECONDS = 30.0
SECOND_READY_SECONDS = 120.0
PHRASINGS_A_CALL = 4_000
"""An import stays below gRPC's 4 MiB."""
FOUND_BY_MEANING = 0.9
"""The centred cosine from which a question counts as one of the article's own phrasings: beside seven other texts in a
call, 8 bits leave .98 to .99 of its own."""
WHO = Identity("demo", "bench", frozenset({Role.OPERATOR}))


@dataclass(frozen=True, slots=True)
class Speed:
    """Answers, from outside."""

    how: str
    answered: int
    failed: int
    answers_a_second: float
    p50_ms: float
    p99_ms: float


@contextmanager
def service(log: Path) -> Iterator[Home]:
    """An embedded system of its own, which begins empty."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with started(Home.from_environment(), log) as home:
        yield home


@asynccontextmanager
async def second_replica(home: Home) -> AsyncIterator[str]:
    """Another `support serve` of the running system, ready; its address. Ended with the block.

    It is told what the first one is told, hears of changes through Kafka alone, and encodes for itself, on a copy of
    the vectors that the first one has now. Raises ProcessFailedError where it does not start.
    """
    name, port, ops_port = "support serve 2", *free_ports(2)
    vectors = home.path / "vectors-2"
    shutil.copytree(home.folder("vectors"), vectors)
    own = {
        "CASEBOOK_INSTANCE": name.replace(" ", "-"),
        "CASEBOOK_GRPC_LISTEN": f"127.0.0.1:{port}",
        "CASEBOOK_OPS_LISTEN": f"127.0.0.1:{ops_port}",
        "CASEBOOK_TRACE_FILE": str(home.folder("traces") / "support-serve-2.jsonl"),
        "CASEBOOK_VECTOR_CACHE": str(vectors),
    }
    spec = ProcessSpec(
        name,
        (sys.executable, "-m", "support", "serve"),
        env=_first_replica(home).environ() | own,
        ready=http_ready(ops_port),
        ready_within_seconds=SECOND_READY_SECONDS,
    )
    async with Supervisor([spec], home.folder("logs"), TerminalEcho(Console(), warnings_only=True)):
        yield own["CASEBOOK_GRPC_LISTEN"]


def _first_replica(home: Home) -> psutil.Process:
    below = psutil.Process(int((home.path / "lock").read_text())).children()
    [first] = [each for each in below if each.cmdline()[1:] == ["-m", "support", "serve"]]
    return first


class Client:
    """Asks one base of one replica of the running service, and fills it."""

    def __init__(self, home: Home, base: str, address: str = "") -> None:
        """`address` is that of a replica; without it, the first one's."""
        settings = Settings(token_keys=SecretStr(home.token_keys))
        address = address or home.addresses()["CASEBOOK_SUPPORT_ADDRESS"]
        self._channel = connect(address, settings, service_identity=WHO)
        self._support = SupportServiceStub(self._channel)
        self._knowledge = KnowledgeServiceStub(self._channel)
        self._base = base
        self._changes = itertools.count()

    async def close(self) -> None:
        """Hangs up."""
        await self._channel.close()

    async def ask(self, question: str, language: Language = "en") -> support_pb2.AskResponse:
        """One question, in a conversation of its own."""
        request = support_pb2.AskRequest(knowledge_base=self._base, question=question, explain=True, language=language)
        answer: support_pb2.AskResponse = await self._support.Ask(request, timeout=ASK_SECONDS)
        return answer

    async def fill(self, phrasings: Mapping[str, Sequence[str]], found_by: "Client | None" = None) -> float:
        """Imports articles with their English phrasings, and waits until the last one is found by meaning: by
        `found_by`, which asks another replica, else here.

        Returns the seconds that took. Raises TimeoutError.
        """
        asked = found_by or self
        begun = time.perf_counter()
        made = [_article(name, own, f"About {name}.") for name, own in phrasings.items()]
        for some in _calls(made):
            request = knowledge_pb2.ImportArticlesRequest(knowledge_base=self._base, articles=some)
            await self._knowledge.ImportArticles(request, timeout=IMPORT_SECONDS)
        async with asyncio.timeout(INDEXED_SECONDS):
            await _until(lambda: asked.finds(made[-1]), 0.5)
        return time.perf_counter() - begun

    async def finds(self, article: knowledge_pb2.Article) -> bool:
        """Whether the article's last phrasing is found by meaning, in Chinese too, where articles without Chinese are
        found by their English. Articles are taken in whole, so all of it is."""
        return all([await self._finds(article, language) for language in LANGUAGES])

    async def _finds(self, article: knowledge_pb2.Article, language: Language) -> bool:
        try:
            answer = await self.ask(article.phrasings.en[-1], language)
        except grpc.RpcError:
            return False
        found = {each.article_id: each.scores.dense for each in answer.retrieved}
        return "model" not in answer.degraded and found.get(article.article_id, 0.0) > FOUND_BY_MEANING

    async def answers_with(self, word: str) -> bool:
        """Whether what is found first has the word in it."""
        return word in next((each.matched_phrasing for each in (await self.ask(word)).retrieved), "")

    async def steadily(self, questions: Sequence[str], rate: float, seconds: float) -> Speed:
        """Questions arrive as a Poisson process, whether or not the ones before are answered."""
        times: list[float] = []
        failed = 0

        async def one(question: str) -> None:
            nonlocal failed
            begun = time.perf_counter()
            try:
                await self.ask(question)
            except grpc.RpcError:
                failed += 1
            else:
                times.append((time.perf_counter() - begun) * 1e3)

        chance, at = np.random.default_rng(0), 0.0
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for question in itertools.cycle(questions):
                at += float(chance.exponential(1.0 / rate))
                if at > seconds:
                    break
                await asyncio.sleep(begun + at - time.perf_counter())
                tasks.create_task(one(question))
        return _speed(f"{rate:g} requests/s", times, failed, time.perf_counter() - begun)

    async def saturated(self, questions: Sequence[str], callers: int, seconds: float) -> Speed:
        """Callers that each wait for one answer before the next question."""
        times: list[float] = []
        failed = 0
        coming = itertools.cycle(questions)
        begun = time.perf_counter()

        async def caller() -> None:
            nonlocal failed
            while (asked := time.perf_counter()) < begun + seconds:
                try:
                    await self.ask(next(coming))
                except grpc.RpcError:
                    failed += 1
                else:
                    times.append((time.perf_counter() - asked) * 1e3)

        await asyncio.gather(*(caller() for _ in range(callers)))
        return _speed(f"{callers} callers", times, failed, time.perf_counter() - begun)

    async def refresh_ms(self, found_by: "Client | None" = None) -> float:
        """From the call that changes an article to the first answer out of it: by `found_by`, which asks another
        replica, else here. Raises TimeoutError.
        """
        asked = found_by or self
        word = f"zyx{next(self._changes)}quvw"
        changed = _article("bench-changed", [f"tell me about {word}"], word)
        begun = time.perf_counter()
        await self._knowledge.PutArticle(
            knowledge_pb2.PutArticleRequest(knowledge_base=self._base, article=changed), timeout=ASK_SECONDS
        )
        async with asyncio.timeout(REFRESHED_SECONDS):
            await _until(lambda: asked.answers_with(word), 0.01)
        return (time.perf_counter() - begun) * 1e3

    async def refreshes_during(self, work: asyncio.Task[float], found_by: "Client | None" = None) -> list[float]:
        """What `refresh_ms` measures, a second after each other, as long as `work` goes on; at least one."""
        times: list[float] = []
        while not times or not work.done():
            times.append(await self.refresh_ms(found_by))
            await asyncio.wait([work], timeout=1.0)
        return times

    async def recall(self, asked: Sequence[tuple[str, str]]) -> tuple[float, float]:
        """R@1 and R@5 of questions, each with the article that answers it."""
        room = asyncio.Semaphore(4)

        async def found_at(question: str, article: str) -> int:
            async with room:
                names = [each.article_id for each in (await self.ask(question)).retrieved]
            return names.index(article) if article in names else len(asked)

        ranks = np.array(await asyncio.gather(*(found_at(*each) for each in asked)))
        return float((ranks < 1).mean()), float((ranks < 5).mean())


async def _until(look: Callable[[], Awaitable[bool]], every_seconds: float) -> None:
    while True:
        if await look():
            return
        await asyncio.sleep(every_seconds)


def _article(name: str, phrasings: Sequence[str], answer: str) -> knowledge_pb2.Article:
    """An article of English texts, each cut to what the service takes."""
    return knowledge_pb2.Article(
        article_id=name,
        title=knowledge_pb2.Text(en=phrasings[0][:MAX_TITLE_CHARACTERS]),
        answer=knowledge_pb2.Text(en=answer),
        phrasings=knowledge_pb2.Phrasings(en=[text[:MAX_PHRASING_CHARACTERS] for text in phrasings]),
    )


def _calls(articles: Sequence[knowledge_pb2.Article]) -> Iterator[list[knowledge_pb2.Article]]:
    """As many articles to a call as it takes."""
    call: list[knowledge_pb2.Article] = []
    for article in articles:
        if call and sum(len(each.phrasings.en) for each in [*call, article]) > PHRASINGS_A_CALL:
            yield call
            call = []
        call.append(article)
    yield call


def _speed(how: str, times: Sequence[float], failed: int, seconds: float) -> Speed:
    p50, p99 = np.percentile(times, [50, 99]) if times else (float("nan"), float("nan"))
    return Speed(how, len(times), failed, round(len(times) / seconds, 1), round(float(p50), 1), round(float(p99), 1))
