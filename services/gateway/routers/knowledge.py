"""The knowledge base: articles, drafts, files of either kind, and how sure the answers have to be."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from casebook.support.v1 import knowledge_pb2 as knowledge
from casebook.support.v1 import quality_pb2 as quality
from chassis.identity import Role, acting_as, current_identity
from gateway import lines
from gateway.access import needs
from gateway.dependencies import Given
from gateway.edge import AuditedLinesRoute, AuditedRoute, within
from gateway.openapi import WITH_BODY, documented
from gateway.schemas import support as schemas
from gateway.schemas.fields import Id
from gateway.translation import support as translation

PREFIX = "/v1/support"
ARTICLES_IN_A_CALL = 500
QUESTIONS_IN_A_CALL = 1_000
VIEWER, OPERATOR = [needs(Role.VIEWER)], [needs(Role.OPERATOR)]

router = APIRouter(prefix=PREFIX, tags=["Knowledge base"], route_class=AuditedRoute)
files = APIRouter(prefix=PREFIX, tags=["Knowledge base"], route_class=AuditedLinesRoute)


@router.get("/knowledge/{knowledge_base}/articles", responses=documented(), dependencies=VIEWER)
async def list_articles(
    knowledge_base: schemas.BaseName,
    given: Given,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    after: Annotated[Id | None, Query()] = None,
    with_retired: bool = False,
) -> schemas.Articles:
    """Lists articles by id."""
    request = knowledge.ListArticlesRequest(
        knowledge_base=knowledge_base, limit=limit, after=after or "", with_retired=with_retired
    )
    return translation.articles(await given.support.knowledge.ListArticles(request))


@router.put(
    "/knowledge/{knowledge_base}/articles/{article_id:id}",
    responses=documented(409, *WITH_BODY),
    dependencies=OPERATOR,
)
async def put_article(
    knowledge_base: schemas.BaseName, article_id: Id, content: schemas.ArticleContent, given: Given
) -> schemas.Article:
    """Creates or replaces an article.

    Every replica answers from it within two seconds. Sending it again changes nothing; a retired one comes back.
    """
    article = translation.article_message(article_id, content)
    request = knowledge.PutArticleRequest(knowledge_base=knowledge_base, article=article)
    return translation.article((await given.support.knowledge.PutArticle(request)).article)


@router.get("/knowledge/{knowledge_base}/articles/{article_id:id}", responses=documented(404), dependencies=VIEWER)
async def get_article(knowledge_base: schemas.BaseName, article_id: Id, given: Given) -> schemas.Article:
    """Shows an article, retired or not."""
    request = knowledge.GetArticleRequest(knowledge_base=knowledge_base, article_id=article_id)
    return translation.article((await given.support.knowledge.GetArticle(request)).article)


@router.delete(
    "/knowledge/{knowledge_base}/articles/{article_id:id}",
    status_code=204,
    responses=documented(404),
    dependencies=OPERATOR,
)
async def retire_article(knowledge_base: schemas.BaseName, article_id: Id, given: Given) -> Response:
    """Retires an article: it answers no more."""
    request = knowledge.RetireArticleRequest(knowledge_base=knowledge_base, article_id=article_id)
    await given.support.knowledge.RetireArticle(request)
    return Response(status_code=204)


# Files


@files.post(
    "/knowledge/{knowledge_base}/articles:import",
    responses=documented(409, *WITH_BODY),
    dependencies=OPERATOR,
    openapi_extra=lines.body_of(schemas.ArticleLine, {"article_id": "activate_my_card"} | schemas.EXAMPLE_ARTICLE),
)
async def import_articles(knowledge_base: schemas.BaseName, given: Given, request: Request) -> schemas.Imported:
    """Imports a file of articles, one a line.

    500 lines at a time are stored, all or none of them; an error names the line, and says how far the file is in.
    Sending it again is harmless.
    """
    reader = lines.LineReader(request, schemas.ArticleLine, ARTICLES_IN_A_CALL, given.settings)

    async def send(part: Sequence[schemas.ArticleLine]) -> lines.Counted:
        articles = [translation.article_message(each.article_id, each) for each in part]
        message = knowledge.ImportArticlesRequest(knowledge_base=knowledge_base, articles=articles)
        counted: lines.Counted = await given.support.knowledge.ImportArticles(message)
        return counted

    return _noted(request, await lines.import_lines(reader, request.state.seconds, send))


@files.get(
    "/knowledge/{knowledge_base}/articles:export",
    responses=documented() | {200: {"content": {lines.MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    response_class=StreamingResponse,
    dependencies=VIEWER,
)
async def export_articles(knowledge_base: schemas.BaseName, given: Given, request: Request) -> StreamingResponse:
    """Exports the articles that are not retired, one a line, by id; importing the file changes nothing."""
    identity, seconds = current_identity(), request.state.seconds

    async def page(after: str) -> knowledge.ListArticlesResponse:
        message = knowledge.ListArticlesRequest(knowledge_base=knowledge_base, limit=ARTICLES_IN_A_CALL, after=after)
        with acting_as(identity):  # the route has returned before the second page is asked for
            async with within(seconds, "a page of the export"):
                found: knowledge.ListArticlesResponse = await given.support.knowledge.ListArticles(message)
                return found

    async def pages(first: knowledge.ListArticlesResponse) -> AsyncIterator[list[schemas.ExportedArticle]]:
        held = first
        while True:
            yield [translation.exported(each) for each in held.articles]
            if not held.next_after:
                return
            held = await page(held.next_after)

    # The first page comes before the first byte: what is refused is a problem, not a file that breaks off.
    return StreamingResponse(lines.written(pages(await page(""))), media_type=lines.MEDIA_TYPE)


@files.post(
    "/knowledge/{knowledge_base}/questions:import",
    responses=documented(409, *WITH_BODY),
    dependencies=OPERATOR,
    openapi_extra=lines.body_of(
        schemas.QuestionLine,
        {"question": "My card came today, what now?", "language": "en", "article_id": "activate_my_card"},
    ),
)
async def import_questions(knowledge_base: schemas.BaseName, given: Given, request: Request) -> schemas.Imported:
    """Imports a file of labelled questions, one a line.

    A question that is there gets its new label. They calibrate the answers, and are never indexed.
    """
    reader = lines.LineReader(request, schemas.QuestionLine, QUESTIONS_IN_A_CALL, given.settings)

    async def send(part: Sequence[schemas.QuestionLine]) -> lines.Counted:
        questions = [translation.question_message(each) for each in part]
        message = knowledge.ImportQuestionsRequest(knowledge_base=knowledge_base, questions=questions)
        counted: lines.Counted = await given.support.knowledge.ImportQuestions(message)
        return counted

    return _noted(request, await lines.import_lines(reader, request.state.seconds, send))


# Drafts


@router.get("/knowledge/{knowledge_base}/drafts", responses=documented(), dependencies=OPERATOR)
async def list_drafts(
    knowledge_base: schemas.BaseName, given: Given, limit: Annotated[int, Query(ge=1, le=100)] = 50
) -> schemas.Drafts:
    """Lists articles that agents have proposed, oldest first."""
    request = knowledge.ListDraftsRequest(knowledge_base=knowledge_base, limit=limit)
    response = await given.support.knowledge.ListDrafts(request)
    return schemas.Drafts(drafts=[translation.draft(each) for each in response.drafts])


@router.post("/drafts/{draft_id}:approve", responses=documented(404, 409, *WITH_BODY), dependencies=OPERATOR)
async def approve_draft(draft_id: Id, approval: schemas.Approval, given: Given) -> schemas.Article:
    """Makes a draft an article, as it is or as edited."""
    request = knowledge.ApproveDraftRequest(draft_id=draft_id)
    if (edited := approval.edited) is not None:
        request.edited.CopyFrom(translation.article_message(edited.article_id, edited))
    return translation.article((await given.support.knowledge.ApproveDraft(request)).article)


@router.post(
    "/drafts/{draft_id}:reject", status_code=204, responses=documented(404, 409, *WITH_BODY), dependencies=OPERATOR
)
async def reject_draft(draft_id: Id, rejection: schemas.Rejection, given: Given) -> Response:
    """Puts a draft away."""
    request = knowledge.RejectDraftRequest(draft_id=draft_id, reason=rejection.reason)
    await given.support.knowledge.RejectDraft(request)
    return Response(status_code=204)


# Quality


@router.get("/knowledge/{knowledge_base}/quality/{language}", responses=documented(404), dependencies=VIEWER)
async def get_risk_coverage(
    knowledge_base: schemas.BaseName,
    language: schemas.Language,
    given: Given,
    target_risk: Annotated[schemas.TargetRisk | None, Query()] = None,
) -> schemas.RiskCoverage:
    """Shows how much is answered at which risk, and the threshold that a risk implies: the one in force, or another."""
    request = quality.GetRiskCoverageRequest(
        knowledge_base=knowledge_base, language=language, target_risk=target_risk or 0.0
    )
    return translation.risk_coverage(await given.support.quality.GetRiskCoverage(request))


@router.put(
    "/knowledge/{knowledge_base}/target-risk",
    status_code=204,
    responses=documented(404, *WITH_BODY),
    dependencies=OPERATOR,
)
async def set_target_risk(knowledge_base: schemas.BaseName, chosen: schemas.ChosenRisk, given: Given) -> Response:
    """Chooses the share of wrong answers that is accepted; every replica follows within five seconds."""
    request = quality.SetTargetRiskRequest(
        knowledge_base=knowledge_base, language=chosen.language or "", target_risk=chosen.target_risk
    )
    await given.support.quality.SetTargetRisk(request)
    return Response(status_code=204)


@router.post("/knowledge/{knowledge_base}:calibrate", responses=documented(404), dependencies=OPERATOR)
async def calibrate(knowledge_base: schemas.BaseName, given: Given) -> schemas.Calibrations:
    """Fits the calibrations anew to the labelled questions and the feedback; the encoders stay as they are.

    It happens by itself as well, once labels have changed. Give it time (`X-Request-Timeout-Ms`).
    """
    response = await given.support.quality.Calibrate(quality.CalibrateRequest(knowledge_base=knowledge_base))
    return schemas.Calibrations(calibrations=[translation.calibration(each) for each in response.calibrations])


def _noted(request: Request, imported: schemas.Imported) -> schemas.Imported:
    request.state.audit_note = f"{imported.lines} lines, {imported.changed} changed"
    return imported
