"""Support as the gateway meets it: four services over one small bank in memory."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.message import Message

from casebook.support.v1 import (
    desk_pb2,
    desk_pb2_grpc,
    knowledge_pb2,
    knowledge_pb2_grpc,
    quality_pb2,
    quality_pb2_grpc,
    support_pb2,
    support_pb2_grpc,
)
from chassis.errors import CasebookError, Conflict, InvalidField, NotFound
from chassis.identity import Identity, Role, current_identity, require

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONVERSATION = str(uuid.UUID(int=7 << 76 | 2 << 62 | 1))
HANDOFF = str(uuid.UUID(int=7 << 76 | 2 << 62 | 2))
DRAFT = str(uuid.UUID(int=7 << 76 | 2 << 62 | 3))


@dataclass
class FakeSupport(
    support_pb2_grpc.SupportServiceServicer,
    desk_pb2_grpc.DeskServiceServicer,
    knowledge_pb2_grpc.KnowledgeServiceServicer,
    quality_pb2_grpc.QualityServiceServicer,
):
    """Keeps articles by tenant and base; knows one conversation, one hand-off and one draft."""

    articles: dict[tuple[str, str], dict[str, knowledge_pb2.Article]] = field(default_factory=dict)
    imports: list[int] = field(default_factory=list)
    """How many articles or questions each import had."""
    fails_with: CasebookError | None = None
    last_request: Message | None = None
    last_identity: Identity | None = None

    def add_to(self, server) -> None:
        support_pb2_grpc.add_SupportServiceServicer_to_server(self, server)
        desk_pb2_grpc.add_DeskServiceServicer_to_server(self, server)
        knowledge_pb2_grpc.add_KnowledgeServiceServicer_to_server(self, server)
        quality_pb2_grpc.add_QualityServiceServicer_to_server(self, server)

    # Conversations

    async def Ask(self, request, context):
        self._called(request)
        if request.conversation_id not in ("", CONVERSATION):
            raise NotFound("conversation", request.conversation_id)
        reply = support_pb2.AskResponse(
            conversation_id=CONVERSATION, turn_id="t-1", language=request.language or "en", confidence=0.1
        )
        if request.wants_person:
            reply.outcome, reply.text = support_pb2.OUTCOME_HAND_OFF, "A colleague will take over."
            reply.handoff.CopyFrom(_handoff(position=1))
            return reply
        reply.outcome, reply.text = support_pb2.OUTCOME_ANSWER, "Freeze it <b>now</b>."
        reply.answer.article_id, reply.answer.text = "lost_card", reply.text
        reply.answer.scores.probability = 0.9
        reply.thresholds.answer = 0.8
        reply.versions.encoders.append("encoder_en/1")
        if request.explain:
            reply.retrieved.add(article_id="lost_card", matched_phrasing="my card is gone").scores.dense = 0.7
            reply.stages.add(name="search", milliseconds=1.5)
        return reply

    async def GetConversation(self, request, context):
        self._called(request)
        if request.conversation_id != CONVERSATION:
            raise NotFound("conversation", request.conversation_id)
        response = support_pb2.GetConversationResponse(
            conversation_id=CONVERSATION, knowledge_base="bank", customer_id=request.customer_id
        )
        said = response.turns.add(turn_id="t-0", speaker=desk_pb2.SPEAKER_CUSTOMER, text="My card is gone")
        said.at.FromDatetime(NOON)
        return response

    async def GiveFeedback(self, request, context):
        self._called(request)
        response = support_pb2.GiveFeedbackResponse()
        if request.verdict == support_pb2.VERDICT_WRONG:
            response.handoff.CopyFrom(_handoff())
        return response

    # The desk

    async def ListHandoffs(self, request, context):
        self._called(request, Role.REVIEWER)
        return desk_pb2.ListHandoffsResponse(handoffs=[_handoff(position=1)])

    async def GetHandoff(self, request, context):
        self._called(request, Role.REVIEWER)
        handoff = _known_handoff(request)
        handoff.summary.question = "My card is gone"
        handoff.summary.top_candidates.add(article_id="lost_card", title="Lost card", probability=0.3)
        return desk_pb2.GetHandoffResponse(handoff=handoff)

    async def ClaimHandoff(self, request, context):
        agent = self._called(request, Role.REVIEWER)
        handoff = _known_handoff(request)
        handoff.state, handoff.claimed_by = desk_pb2.HANDOFF_STATE_CLAIMED, agent.principal
        handoff.lease_until.FromDatetime(NOON)
        return desk_pb2.ClaimHandoffResponse(handoff=handoff)

    async def ReleaseHandoff(self, request, context):
        self._called(request, Role.REVIEWER)
        return desk_pb2.ReleaseHandoffResponse(handoff=_known_handoff(request))

    async def Reply(self, request, context):
        self._called(request, Role.REVIEWER)
        _known_handoff(request)
        response = desk_pb2.ReplyResponse()
        response.turn.turn_id, response.turn.text, response.turn.speaker = "t-2", request.text, desk_pb2.SPEAKER_AGENT
        response.turn.at.FromDatetime(NOON)
        return response

    async def ResolveHandoff(self, request, context):
        self._called(request, Role.REVIEWER)
        handoff = _known_handoff(request)
        handoff.state, handoff.resolution = desk_pb2.HANDOFF_STATE_RESOLVED, request.resolution
        return desk_pb2.ResolveHandoffResponse(handoff=handoff, draft_id=DRAFT if request.HasField("draft") else "")

    # The knowledge base

    async def PutArticle(self, request, context):
        self._called(request, Role.OPERATOR)
        return knowledge_pb2.PutArticleResponse(article=self._put(request.knowledge_base, request.article))

    async def GetArticle(self, request, context):
        self._called(request)
        return knowledge_pb2.GetArticleResponse(article=self._article(request))

    async def ListArticles(self, request, context):
        self._called(request)
        held = sorted(self._base(request.knowledge_base).values(), key=lambda each: each.article_id)
        page = [each for each in held if each.article_id > request.after and (request.with_retired or not each.retired)]
        more = page[request.limit - 1].article_id if len(page) > request.limit else ""
        return knowledge_pb2.ListArticlesResponse(articles=page[: request.limit], next_after=more)

    async def RetireArticle(self, request, context):
        self._called(request, Role.OPERATOR)
        article = self._article(request)
        article.retired = True
        return knowledge_pb2.RetireArticleResponse(article=article)

    async def ImportArticles(self, request, context):
        self._called(request, Role.OPERATOR)
        for index, article in enumerate(request.articles):
            if article.article_id == "refused":
                raise InvalidField(f"articles[{index}].article_id", "is refused", article.article_id)
        self.imports.append(len(request.articles))
        before = {each.article_id: each.revision for each in self._base(request.knowledge_base).values()}
        after = [self._put(request.knowledge_base, each) for each in request.articles]
        unchanged = sum(before.get(each.article_id) == each.revision for each in after)
        return knowledge_pb2.ImportArticlesResponse(changed=len(after) - unchanged, unchanged=unchanged)

    async def ImportQuestions(self, request, context):
        self._called(request, Role.OPERATOR)
        self.imports.append(len(request.questions))
        return knowledge_pb2.ImportQuestionsResponse(changed=len(request.questions))

    async def ListDrafts(self, request, context):
        self._called(request, Role.OPERATOR)
        draft = knowledge_pb2.Draft(draft_id=DRAFT, knowledge_base=request.knowledge_base, proposed_by="remy")
        draft.article.article_id = "new"
        draft.proposed_at.FromDatetime(NOON)
        return knowledge_pb2.ListDraftsResponse(drafts=[draft])

    async def ApproveDraft(self, request, context):
        self._called(request, Role.OPERATOR)
        if request.draft_id != DRAFT:
            raise NotFound("draft", request.draft_id)
        if not request.HasField("edited"):
            raise Conflict("article", "new", "is there already")
        return knowledge_pb2.ApproveDraftResponse(article=self._put("bank", request.edited))

    async def RejectDraft(self, request, context):
        self._called(request, Role.OPERATOR)
        if request.draft_id != DRAFT:
            raise NotFound("draft", request.draft_id)
        return knowledge_pb2.RejectDraftResponse()

    # Quality

    async def GetRiskCoverage(self, request, context):
        self._called(request)
        response = quality_pb2.GetRiskCoverageResponse(threshold=0.8, target_risk=request.target_risk or 0.02)
        response.calibration.CopyFrom(_calibration(request.knowledge_base, request.language))
        response.curve.add(threshold=0.8, coverage=0.7, risk=0.02)
        return response

    async def SetTargetRisk(self, request, context):
        self._called(request, Role.OPERATOR)
        return quality_pb2.SetTargetRiskResponse()

    async def Calibrate(self, request, context):
        self._called(request, Role.OPERATOR)
        return quality_pb2.CalibrateResponse(calibrations=[_calibration(request.knowledge_base, "en")])

    def _called(self, request: Message, role: Role = Role.VIEWER) -> Identity:
        self.last_request, self.last_identity = request, current_identity()
        require(role)
        if self.fails_with is not None:
            raise self.fails_with
        return self.last_identity

    def _base(self, name: str) -> dict[str, knowledge_pb2.Article]:
        return self.articles.setdefault((current_identity().tenant, name), {})

    def _article(self, request) -> knowledge_pb2.Article:
        found = self._base(request.knowledge_base).get(request.article_id)
        if found is None:
            raise NotFound("article", request.article_id)
        return found

    def _put(self, base: str, given: knowledge_pb2.Article) -> knowledge_pb2.Article:
        held = self._base(base).get(given.article_id)
        new = knowledge_pb2.Article()
        new.CopyFrom(given)
        if held is not None:
            new.revision = held.revision
            new.updated_at.CopyFrom(held.updated_at)
            if new == held:
                return held
        new.revision += 1
        new.updated_at.FromDatetime(NOON)
        self._base(base)[given.article_id] = new
        return new


def _handoff(**fields: object) -> desk_pb2.Handoff:
    handoff = desk_pb2.Handoff(
        handoff_id=HANDOFF,
        conversation_id=CONVERSATION,
        knowledge_base="bank",
        state=desk_pb2.HANDOFF_STATE_QUEUED,
        reason=desk_pb2.HANDOFF_REASON_ASKED_FOR,
        revision=1,
        **fields,
    )
    handoff.requested_at.FromDatetime(NOON)
    return handoff


def _known_handoff(request) -> desk_pb2.Handoff:
    if request.handoff_id != HANDOFF:
        raise NotFound("hand-off", request.handoff_id)
    return _handoff()


def _calibration(base: str, language: str) -> quality_pb2.Calibration:
    calibration = quality_pb2.Calibration(
        version="abc", knowledge_base=base, language=language, in_scope_questions=50, target_risk=0.02
    )
    calibration.fitted_at.FromDatetime(NOON)
    return calibration
