"""Smart support: conversations, the knowledge base, its quality, and the agents' desk."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from google.protobuf.message import Message

from casebook.support.v1 import desk_pb2, knowledge_pb2, quality_pb2, support_pb2
from gateway.schemas import support as schemas
from gateway.translation.scalars import decimal, time

VERDICTS: Mapping[str, support_pb2.Verdict] = {
    "helpful": support_pb2.VERDICT_HELPFUL,
    "wrong": support_pb2.VERDICT_WRONG,
}
HANDOFF_STATES: Mapping[schemas.HandoffStateName, desk_pb2.HandoffState] = {
    "requested": desk_pb2.HANDOFF_STATE_REQUESTED,
    "queued": desk_pb2.HANDOFF_STATE_QUEUED,
    "claimed": desk_pb2.HANDOFF_STATE_CLAIMED,
    "resolved": desk_pb2.HANDOFF_STATE_RESOLVED,
}


# Conversations


def ask_request(turn: schemas.SupportTurn, conversation_id: str = "") -> support_pb2.AskRequest:
    """A turn of a conversation; without an id it begins one."""
    return support_pb2.AskRequest(
        conversation_id=conversation_id,
        knowledge_base=turn.knowledge_base,
        customer_id=turn.customer_id or "",
        question=turn.question,
        picked_article_id=turn.picked_article_id,
        none_of_these=turn.none_of_these,
        wants_person=turn.wants_person,
        language=turn.language or "",
        explain=turn.explain,
        audiences=turn.audiences,
    )


def bot_turn(response: support_pb2.AskResponse) -> schemas.BotTurn:
    """What the customer reads."""
    has = response.HasField
    return schemas.BotTurn(
        conversation_id=response.conversation_id or None,
        turn_id=response.turn_id,
        outcome=_name(support_pb2.Outcome, response.outcome, "OUTCOME_"),
        text=response.text,
        language=response.language,
        answer=_answer(response.answer) if has("answer") else None,
        candidates=[_candidate(each) for each in response.candidates],
        handoff=handoff(response.handoff) if has("handoff") else None,
        confidence=decimal(response.confidence),
        thresholds=_thresholds(response.thresholds) if has("thresholds") else None,
        versions=schemas.AnswerVersions(
            encoders=list(response.versions.encoders),
            index=response.versions.index,
            reranker=response.versions.reranker,
            calibration=response.versions.calibration,
        ),
        degraded=list(response.degraded),
        retrieved=[_candidate(each) for each in response.retrieved],
        stages=[schemas.TurnStage(name=each.name, milliseconds=decimal(each.milliseconds)) for each in response.stages],
    )


def conversation(response: support_pb2.GetConversationResponse) -> schemas.Conversation:
    """What was said."""
    return schemas.Conversation(
        conversation_id=response.conversation_id,
        knowledge_base=response.knowledge_base,
        customer_id=response.customer_id or None,
        turns=[turn(each) for each in response.turns],
        handoff=handoff(response.handoff) if response.HasField("handoff") else None,
        degraded=list(response.degraded),
    )


def feedback_request(conversation_id: str, feedback: schemas.TurnFeedback) -> support_pb2.GiveFeedbackRequest:
    """A verdict."""
    return support_pb2.GiveFeedbackRequest(
        conversation_id=conversation_id,
        turn_id=feedback.turn_id,
        customer_id=feedback.customer_id or "",
        verdict=VERDICTS[feedback.verdict],
        correct_article_id=feedback.correct_article_id or "",
        comment=feedback.comment,
    )


def feedback_taken(response: support_pb2.GiveFeedbackResponse) -> schemas.FeedbackTaken:
    """What the verdict led to."""
    return schemas.FeedbackTaken(handoff=handoff(response.handoff) if response.HasField("handoff") else None)


def turn(message: desk_pb2.Turn) -> schemas.ConversationTurn:
    """Something said."""
    return schemas.ConversationTurn(
        turn_id=message.turn_id,
        speaker=_name(desk_pb2.Speaker, message.speaker, "SPEAKER_"),
        text=message.text,
        at=time(message.at),
        outcome=message.outcome or None,
        article_id=message.article_id or None,
    )


# The agents' desk


def handoff(message: desk_pb2.Handoff) -> schemas.Handoff:
    """A conversation that needs a person."""
    return schemas.Handoff(
        handoff_id=message.handoff_id,
        conversation_id=message.conversation_id,
        knowledge_base=message.knowledge_base,
        customer_id=message.customer_id or None,
        state=_name(desk_pb2.HandoffState, message.state, "HANDOFF_STATE_"),
        reason=_name(desk_pb2.HandoffReason, message.reason, "HANDOFF_REASON_"),
        requested_at=time(message.requested_at),
        claimed_by=message.claimed_by or None,
        lease_until=_time_or_none(message, "lease_until"),
        resolved_at=_time_or_none(message, "resolved_at"),
        resolution=message.resolution or None,
        revision=message.revision,
        position=message.position or None,
        summary=_summary(message.summary) if message.HasField("summary") else None,
    )


def resolve_request(handoff_id: str, resolution: schemas.Resolution) -> desk_pb2.ResolveHandoffRequest:
    """The end of a hand-off."""
    request = desk_pb2.ResolveHandoffRequest(
        handoff_id=handoff_id,
        resolution=resolution.resolution,
        correct_article_id=resolution.correct_article_id or "",
    )
    if resolution.draft is not None:
        draft = resolution.draft
        request.draft.CopyFrom(
            knowledge_pb2.Article(
                article_id=draft.article_id or "",
                title=_text(draft.title),
                answer=_text(draft.answer),
                phrasings=knowledge_pb2.Phrasings(en=draft.phrasings.en, zh=draft.phrasings.zh),
                tags=draft.tags,
            )
        )
    return request


def resolved(response: desk_pb2.ResolveHandoffResponse) -> schemas.Resolved:
    """A hand-off that is over."""
    return schemas.Resolved(handoff=handoff(response.handoff), draft_id=response.draft_id or None)


# The knowledge base


def article_message(article_id: str, content: schemas.ArticleContent) -> knowledge_pb2.Article:
    """An article to be stored."""
    message = knowledge_pb2.Article(
        article_id=article_id,
        title=_text(content.title),
        answer=_text(content.answer),
        phrasings=knowledge_pb2.Phrasings(en=content.phrasings.en, zh=content.phrasings.zh),
        tags=content.tags,
        audience=content.audience,
    )
    for name in ("valid_from", "valid_to"):
        moment: datetime | None = getattr(content, name)
        if moment is not None:
            getattr(message, name).FromDatetime(moment.astimezone(UTC))
    return message


def exported(message: knowledge_pb2.Article) -> schemas.ExportedArticle:
    """A line of an export."""
    return schemas.ExportedArticle(
        article_id=message.article_id,
        title=_texts(message.title),
        answer=_texts(message.answer),
        phrasings={language: list(each) for language in _LANGUAGES if (each := getattr(message.phrasings, language))},
        tags=list(message.tags),
        audience=message.audience,
        valid_from=_time_or_none(message, "valid_from"),
        valid_to=_time_or_none(message, "valid_to"),
    )


def article(message: knowledge_pb2.Article) -> schemas.Article:
    """An article as it is stored."""
    return schemas.Article(
        **dict(exported(message)),
        revision=message.revision,
        updated_at=_time_or_none(message, "updated_at"),
        retired=message.retired,
    )


def articles(response: knowledge_pb2.ListArticlesResponse) -> schemas.Articles:
    """A page of them."""
    return schemas.Articles(
        articles=[article(each) for each in response.articles], next_after=response.next_after or None
    )


def question_message(line: schemas.QuestionLine) -> knowledge_pb2.LabelledQuestion:
    """A labelled question."""
    return knowledge_pb2.LabelledQuestion(
        question=line.question, language=line.language or "", article_id=line.article_id or ""
    )


def draft(message: knowledge_pb2.Draft) -> schemas.Draft:
    """An article that somebody proposes."""
    return schemas.Draft(
        draft_id=message.draft_id,
        knowledge_base=message.knowledge_base,
        article=article(message.article),
        handoff_id=message.handoff_id or None,
        proposed_at=time(message.proposed_at),
        proposed_by=message.proposed_by,
    )


# Quality


def risk_coverage(response: quality_pb2.GetRiskCoverageResponse) -> schemas.RiskCoverage:
    """The curve, and where on it the base stands."""
    return schemas.RiskCoverage(
        calibration=calibration(response.calibration),
        curve=[
            schemas.RiskCoveragePoint(
                threshold=decimal(each.threshold), coverage=decimal(each.coverage), risk=decimal(each.risk)
            )
            for each in response.curve
        ],
        threshold=decimal(response.threshold),
        target_risk=decimal(response.target_risk),
    )


def calibration(message: quality_pb2.Calibration) -> schemas.Calibration:
    """A calibration in force."""
    return schemas.Calibration(
        version=message.version,
        knowledge_base=message.knowledge_base,
        language=message.language,
        fitted_at=_time_or_none(message, "fitted_at"),
        in_scope_questions=message.in_scope_questions,
        out_of_scope_questions=message.out_of_scope_questions,
        from_feedback=message.from_feedback,
        expected_calibration_error=decimal(message.expected_calibration_error),
        target_risk=decimal(message.target_risk),
    )


_LANGUAGES = ("en", "zh")


def _answer(message: support_pb2.Answer) -> schemas.SupportAnswer:
    return schemas.SupportAnswer(
        article_id=message.article_id,
        article_revision=message.article_revision,
        title=message.title,
        matched_phrasing=message.matched_phrasing,
        scores=_scores(message.scores),
        text=message.text,
    )


def _candidate(message: support_pb2.Candidate) -> schemas.CandidateArticle:
    return schemas.CandidateArticle(
        article_id=message.article_id,
        article_revision=message.article_revision,
        title=message.title,
        matched_phrasing=message.matched_phrasing,
        scores=_scores(message.scores),
    )


def _scores(message: support_pb2.Scores) -> schemas.CandidateScores:
    return schemas.CandidateScores(
        lexical=decimal(message.lexical),
        dense=decimal(message.dense),
        fused=decimal(message.fused),
        reranked=decimal(message.reranked),
        probability=decimal(message.probability),
    )


def _thresholds(message: support_pb2.Thresholds) -> schemas.AnswerThresholds:
    return schemas.AnswerThresholds(
        answer=decimal(message.answer), clarify=decimal(message.clarify), target_risk=decimal(message.target_risk)
    )


def _summary(message: desk_pb2.Summary) -> schemas.HandoffSummary:
    return schemas.HandoffSummary(
        language=message.language,
        question=message.question,
        turns=[turn(each) for each in message.turns],
        tried_article_ids=list(message.tried_article_ids),
        top_candidates=[
            schemas.SuggestedArticle(
                article_id=each.article_id, title=each.title, probability=decimal(each.probability)
            )
            for each in message.top_candidates
        ],
    )


def _text(text: schemas.TitleText | schemas.AnswerText) -> knowledge_pb2.Text:
    return knowledge_pb2.Text(en=text.en, zh=text.zh)


def _texts(message: knowledge_pb2.Text) -> dict[str, str]:
    return {language: text for language in _LANGUAGES if (text := getattr(message, language))}


def _time_or_none(message: Message, field: str) -> datetime | None:
    return time(getattr(message, field)) if message.HasField(field) else None


def _name(enumeration: Any, value: int, prefix: str) -> Any:
    """The value as the API writes it."""
    return cast("str", enumeration.Name(value)).removeprefix(prefix).lower()
