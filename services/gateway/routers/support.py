"""Conversations with customers."""

from typing import Annotated

from fastapi import APIRouter, Query

from casebook.support.v1.support_pb2 import GetConversationRequest
from chassis.identity import Role
from gateway.access import needs
from gateway.dependencies import Given
from gateway.edge import IdempotentRoute
from gateway.openapi import IDEMPOTENT, WITH_BODY, documented
from gateway.schemas import support as schemas
from gateway.schemas.fields import Id
from gateway.translation import support as translation

router = APIRouter(
    prefix="/v1/support/conversations", tags=["Support"], route_class=IdempotentRoute, dependencies=[needs(Role.VIEWER)]
)
TURN = documented(404, 409, *WITH_BODY)


@router.post("", responses=TURN, openapi_extra=IDEMPOTENT)
async def begin_conversation(turn: schemas.SupportTurn, given: Given) -> schemas.BotTurn:
    """Begins a conversation with its first turn.

    Answers from the knowledge base with the source, asks back with at most three candidates, says plainly that it does
    not know, or hands over to a person. What could not take part is said in `degraded`.
    """
    return translation.bot_turn(await given.support.conversations.Ask(translation.ask_request(turn)))


@router.post("/{conversation_id}/turns", responses=TURN, openapi_extra=IDEMPOTENT)
async def take_turn(conversation_id: Id, turn: schemas.SupportTurn, given: Given) -> schemas.BotTurn:
    """Takes a turn of a conversation.

    A follow-up is asked as it stands and in its context, and the two vote. While a person has the conversation, what is
    said goes to them.
    """
    request = translation.ask_request(turn, conversation_id)
    return translation.bot_turn(await given.support.conversations.Ask(request))


@router.get("/{conversation_id}", responses=documented(404))
async def get_conversation(
    conversation_id: Id, given: Given, customer_id: Annotated[Id | None, Query()] = None
) -> schemas.Conversation:
    """Shows what was said, to the customer whose conversation it is."""
    request = GetConversationRequest(conversation_id=conversation_id, customer_id=customer_id or "")
    return translation.conversation(await given.support.conversations.GetConversation(request))


@router.post("/{conversation_id}/feedback", responses=TURN, openapi_extra=IDEMPOTENT)
async def give_feedback(conversation_id: Id, feedback: schemas.TurnFeedback, given: Given) -> schemas.FeedbackTaken:
    """Says what somebody thinks of a turn of the bot.

    It trains, and moves the curve that the thresholds stand on. After two failed turns in a row a person is fetched.
    """
    request = translation.feedback_request(conversation_id, feedback)
    return translation.feedback_taken(await given.support.conversations.GiveFeedback(request))
