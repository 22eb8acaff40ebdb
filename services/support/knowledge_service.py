"""The gRPC servicer of the knowledge base: checks the request, calls the store, translates the answer."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import grpc

from casebook.support.v1 import knowledge_pb2 as pb
from casebook.support.v1.knowledge_pb2_grpc import KnowledgeServiceServicer
from chassis.fields import MAX_ID_CHARACTERS, check_count, check_id, check_text, page_size
from chassis.identity import Role, require
from support.articles import article_message, checked_article, checked_articles, checked_base, checked_language
from support.corpus import Bases, CorpusKeeper
from support.knowledge import Article, KnowledgeBase, LabelledQuestion, came_together
from support.language import detect
from support.said import MAX_QUESTION_CHARACTERS
from support.store import Draft, Store

MAX_ARTICLES = 500
MAX_PAGE_BYTES = 3_000_000
"""A page of large articles ends early: a gRPC message takes 4 MiB, and one article at most 0.9 MB."""
DEFAULT_ARTICLES = 100
MAX_QUESTIONS = 1_000
MAX_DRAFTS = 100
DEFAULT_DRAFTS = 50
MAX_REASON_CHARACTERS = 500

Context: TypeAlias = grpc.aio.ServicerContext


class KnowledgeService(KnowledgeServiceServicer):
    """`casebook.support.v1.KnowledgeService`."""

    def __init__(self, store: Store, bases: Bases, keeper: CorpusKeeper) -> None:
        self._store = store
        self._bases = bases
        self._keeper = keeper

    async def PutArticle(self, request: pb.PutArticleRequest, context: Context) -> pb.PutArticleResponse:
        """Creates or replaces an article."""
        base = checked_base(require(Role.OPERATOR).tenant, request.knowledge_base)
        article = await self._store.put_article(base, checked_article(request.article))
        self._take(base, [article])
        return pb.PutArticleResponse(article=article_message(article))

    async def GetArticle(self, request: pb.GetArticleRequest, context: Context) -> pb.GetArticleResponse:
        """An article, retired or not, as it is stored."""
        base = checked_base(require(Role.VIEWER).tenant, request.knowledge_base)
        check_id("article_id", request.article_id)
        return pb.GetArticleResponse(article=article_message(await self._store.article(base, request.article_id)))

    async def ListArticles(self, request: pb.ListArticlesRequest, context: Context) -> pb.ListArticlesResponse:
        """A page of them."""
        base = checked_base(require(Role.VIEWER).tenant, request.knowledge_base)
        limit = page_size("limit", request.limit, DEFAULT_ARTICLES, MAX_ARTICLES)
        check_text("after", request.after, MAX_ID_CHARACTERS, least=0)
        articles = await self._store.articles(base, request.after, limit, with_retired=request.with_retired)
        page = _that_fits(articles)
        more = len(page) == limit or len(page) < len(articles)
        next_after = page[-1].article_id if page and more else ""
        return pb.ListArticlesResponse(articles=page, next_after=next_after)

    async def RetireArticle(self, request: pb.RetireArticleRequest, context: Context) -> pb.RetireArticleResponse:
        """Takes an article out; here it answers no more when this returns."""
        base = checked_base(require(Role.OPERATOR).tenant, request.knowledge_base)
        check_id("article_id", request.article_id)
        article = await self._store.retire_article(base, request.article_id)
        self._take(base, [article])
        return pb.RetireArticleResponse(article=article_message(article))

    async def ImportArticles(self, request: pb.ImportArticlesRequest, context: Context) -> pb.ImportArticlesResponse:
        """Many at a time, all or none."""
        base = checked_base(require(Role.OPERATOR).tenant, request.knowledge_base)
        check_count("articles", request.articles, MAX_ARTICLES)
        changed = await self._store.put_articles(base, checked_articles(request.articles))
        self._take(base, changed)
        return pb.ImportArticlesResponse(changed=len(changed), unchanged=len(request.articles) - len(changed))

    async def ImportQuestions(self, request: pb.ImportQuestionsRequest, context: Context) -> pb.ImportQuestionsResponse:
        """Labels questions."""
        base = checked_base(require(Role.OPERATOR).tenant, request.knowledge_base)
        check_count("questions", request.questions, MAX_QUESTIONS)
        questions = [_question(each, f"questions[{index}]") for index, each in enumerate(request.questions)]
        changed = await self._store.put_questions(base, questions)
        return pb.ImportQuestionsResponse(changed=changed, unchanged=len(questions) - changed)

    async def ListDrafts(self, request: pb.ListDraftsRequest, context: Context) -> pb.ListDraftsResponse:
        """What waits for somebody to decide."""
        base = checked_base(require(Role.OPERATOR).tenant, request.knowledge_base)
        limit = page_size("limit", request.limit, DEFAULT_DRAFTS, MAX_DRAFTS)
        return pb.ListDraftsResponse(drafts=[_draft_message(each) for each in await self._store.drafts(base, limit)])

    async def ApproveDraft(self, request: pb.ApproveDraftRequest, context: Context) -> pb.ApproveDraftResponse:
        """A draft becomes an article."""
        operator = require(Role.OPERATOR)
        check_id("draft_id", request.draft_id)
        edited = checked_article(request.edited, "edited") if request.HasField("edited") else None
        base, article = await self._store.approve_draft(operator.tenant, request.draft_id, operator.principal, edited)
        self._take(base, [article])
        return pb.ApproveDraftResponse(article=article_message(article))

    async def RejectDraft(self, request: pb.RejectDraftRequest, context: Context) -> pb.RejectDraftResponse:
        """A draft is put away."""
        operator = require(Role.OPERATOR)
        check_id("draft_id", request.draft_id)
        check_text("reason", request.reason, MAX_REASON_CHARACTERS, least=0)
        await self._store.reject_draft(operator.tenant, request.draft_id, operator.principal, request.reason)
        return pb.RejectDraftResponse()

    def _take(self, base: KnowledgeBase, articles: Sequence[Article]) -> None:
        """This replica does not wait for its own events."""
        imported = came_together(articles)
        changed = [self._bases.put(base, article, imported=imported) for article in articles]
        if any(changed):
            self._keeper.wake()


def _that_fits(articles: Iterable[Article]) -> list[pb.Article]:
    """The first of them, as many as fit into one message."""
    page: list[pb.Article] = []
    room = MAX_PAGE_BYTES
    for article in articles:
        message = article_message(article)
        room -= message.ByteSize()
        if page and room < 0:
            break
        page.append(message)
    return page


def _question(message: pb.LabelledQuestion, field: str) -> LabelledQuestion:
    check_text(f"{field}.question", message.question, MAX_QUESTION_CHARACTERS)
    check_text(f"{field}.article_id", message.article_id, MAX_ID_CHARACTERS, least=0)
    language = checked_language(message.language, f"{field}.language") if message.language else detect(message.question)
    return LabelledQuestion(message.question, language, message.article_id or None)


def _draft_message(draft: Draft) -> pb.Draft:
    message = pb.Draft(
        draft_id=draft.draft_id,
        knowledge_base=draft.base.name,
        article=article_message(draft.article),
        handoff_id=draft.handoff_id,
        proposed_by=draft.proposed_by,
    )
    message.proposed_at.FromDatetime(draft.proposed_at)
    return message
