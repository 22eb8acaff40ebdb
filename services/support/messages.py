"""The dialogue's types as the API and the topics show them."""

from collections.abc import Iterable

from casebook.support.v1 import desk_pb2, events_pb2, support_pb2
from support.asking import Reply
from support.conversation import Turn, Versions
from support.decision import Thresholds
from support.feedback import Feedback
from support.handoff import Handoff, HandoffState
from support.knowledge import Candidate, Language, Scores
from support.summary import Summary

STATES = {desk_pb2.HandoffState.Value(f"HANDOFF_STATE_{each.name}"): each for each in HandoffState}
"""The states by their number in the contract."""


def reply_message(reply: Reply, *, explain: bool) -> support_pb2.AskResponse:
    """The bot's turn; `explain` adds what was retrieved, and how long each stage took."""
    message = support_pb2.AskResponse(
        conversation_id=reply.conversation_id,
        turn_id=reply.turn_id,
        outcome=f"OUTCOME_{reply.outcome.name}",
        text=reply.text,
        language=reply.language,
        candidates=[candidate_message(each, reply.language) for each in reply.candidates],
        confidence=reply.confidence,
        versions=versions_message(reply.versions),
        degraded=reply.degraded,
    )
    if reply.article is not None:
        message.answer.CopyFrom(_answer(reply.article, reply.language))
    if reply.handoff is not None:
        message.handoff.CopyFrom(handoff_message(reply.handoff, with_summary=False))
    if reply.thresholds is not None:
        message.thresholds.CopyFrom(_thresholds(reply.thresholds))
    if explain:
        message.retrieved.extend(candidate_message(each, reply.language) for each in reply.retrieved)
        message.stages.extend(
            support_pb2.Stage(name=each.name, milliseconds=each.milliseconds) for each in reply.stages
        )
    return message


def candidate_message(candidate: Candidate, language: Language) -> support_pb2.Candidate:
    """An article that may answer."""
    article = candidate.article
    return support_pb2.Candidate(
        article_id=article.article_id,
        article_revision=article.revision,
        title=article.in_language(article.title, language),
        matched_phrasing=candidate.phrasing,
        scores=_scores(candidate.scores),
    )


def versions_message(versions: Versions) -> support_pb2.Versions:
    """What took part."""
    return support_pb2.Versions(
        encoders=versions.encoders,
        index=versions.index,
        reranker=versions.reranker,
        calibration=versions.calibration,
    )


def turn_message(turn: Turn) -> desk_pb2.Turn:
    """Something said."""
    message = desk_pb2.Turn(
        turn_id=turn.turn_id,
        speaker=f"SPEAKER_{turn.speaker.name}",
        text=turn.text,
        outcome=turn.outcome or "",
        article_id=turn.article_id,
    )
    message.at.FromDatetime(turn.at)
    return message


def summary_message(summary: Summary, turns: Iterable[Turn] = ()) -> desk_pb2.Summary:
    """The summary, with those turns."""
    return desk_pb2.Summary(
        language=summary.language,
        question=summary.question,
        turns=[turn_message(each) for each in turns],
        tried_article_ids=summary.tried_article_ids,
        top_candidates=[
            desk_pb2.SuggestedArticle(article_id=each.article_id, title=each.title, probability=each.scores.probability)
            for each in summary.top_candidates
        ],
    )


def handoff_message(
    handoff: Handoff, turns: Iterable[Turn] | None = None, *, with_summary: bool = True
) -> desk_pb2.Handoff:
    """A hand-off; `turns` are those of its summary unless others are given. A customer is shown no summary."""
    message = desk_pb2.Handoff(
        handoff_id=handoff.handoff_id,
        conversation_id=handoff.conversation_id,
        knowledge_base=handoff.knowledge_base,
        customer_id=handoff.customer_id,
        state=f"HANDOFF_STATE_{handoff.state.name}",
        reason=f"HANDOFF_REASON_{handoff.reason.name}",
        claimed_by=handoff.claimed_by,
        resolution=handoff.resolution,
        revision=handoff.revision,
        position=handoff.position,
    )
    if with_summary:
        said = handoff.summary.turns if turns is None else turns
        message.summary.CopyFrom(summary_message(handoff.summary, said))
    message.requested_at.FromDatetime(handoff.requested_at)
    if handoff.lease_until is not None:
        message.lease_until.FromDatetime(handoff.lease_until)
    if handoff.resolved_at is not None:
        message.resolved_at.FromDatetime(handoff.resolved_at)
    return message


def feedback_message(feedback: Feedback) -> events_pb2.FeedbackGiven:
    """What somebody thought of a turn."""
    evidence = feedback.evidence
    message = events_pb2.FeedbackGiven(
        conversation_id=feedback.conversation_id,
        turn_id=feedback.turn_id,
        knowledge_base=feedback.knowledge_base,
        language=evidence.language,
        question=evidence.question,
        context=evidence.context,
        outcome=f"OUTCOME_{feedback.outcome.name}",
        answered_article_id=feedback.answered_article_id,
        source=f"FEEDBACK_SOURCE_{feedback.source.name}",
        correct_article_id=feedback.correct_article_id,
        in_scope=feedback.in_scope,
        comment=feedback.comment,
        confidence=evidence.confidence,
        versions=versions_message(evidence.versions),
    )
    message.given_at.FromDatetime(feedback.given_at)
    return message


def _answer(candidate: Candidate, language: Language) -> support_pb2.Answer:
    article = candidate.article
    return support_pb2.Answer(
        article_id=article.article_id,
        article_revision=article.revision,
        title=article.in_language(article.title, language),
        text=article.in_language(article.answer, language),
        matched_phrasing=candidate.phrasing,
        scores=_scores(candidate.scores),
    )


def _scores(scores: Scores) -> support_pb2.Scores:
    return support_pb2.Scores(
        lexical=scores.lexical,
        dense=scores.dense,
        fused=scores.fused,
        reranked=scores.reranked,
        probability=scores.probability,
    )


def _thresholds(thresholds: Thresholds) -> support_pb2.Thresholds:
    return support_pb2.Thresholds(
        answer=thresholds.answer, clarify=thresholds.clarify, target_risk=thresholds.target_risk
    )
