"""Case 2 on the demo's online bank: conversations through every outcome, a person, a new article, what is learnt."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.markup import escape
from rich.table import Table

from cli.walks.walk import FRESH_WITHIN_SECONDS, StepFailed, Walk

BASE = "bank"
SHOWN_CELLS = 100
LEARNT_WITHIN_SECONDS = 120.0
RISKS = (0.01, 0.02, 0.05)


@dataclass(frozen=True, slots=True)
class Script:
    """A conversation in one language that goes through every outcome."""

    language: str
    answered: str
    follow_up: str
    """After `answered` it means `follow_up_article`. Chosen to show the vote: how often it helps, eval-support says."""
    follow_up_article: str
    vague: tuple[str, ...]
    """Tried in turn until one is asked back: which ones are depends on the calibration in force."""
    unknown: tuple[str, str]
    person: str


ENGLISH = Script(
    "en",
    "How do I top up by card?",
    "is there a fee?",
    "top_up_by_card_charge",
    ("top up", "cash", "pin", "cash withdrawal", "my card", "card", "fee"),
    ("What is the capital of Peru?", "Do you sell concert tickets?"),
    "Can I talk to a human, please?",
)
CHINESE = Script(
    "zh",
    "怎么从别的银行把钱转进来？",
    "那一直没到账呢？",
    "balance_not_updated_after_bank_transfer",
    ("充值", "充值问题", "取现", "验证身份", "身份验证", "退款", "手续费"),
    ("秘鲁的首都是哪里？", "你们卖演唱会的票吗？"),
    "转人工客服",
)


class Support:
    """The steps of case 2."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk

    @property
    def steps(self) -> tuple[Callable[[], None], ...]:
        """In the order in which they are walked."""
        return (
            self.english_conversation,
            self.chinese_conversation,
            self.desk,
            self.new_article,
            self.accepted_risk,
            self.feedback,
            self.trace,
        )

    # The steps

    def english_conversation(self) -> None:
        """Answered, asked back, not known, handed over."""
        with self.walk.step("A conversation in English: answered, asked back, not known, handed over"):
            self.conversation(ENGLISH)

    def chinese_conversation(self) -> None:
        """The same in Chinese."""
        with self.walk.step("A conversation in Chinese: the same way"):
            self.conversation(CHINESE)

    def desk(self) -> None:
        """An agent takes a hand-off, and what they know becomes an article."""
        with self.walk.step("The agents' desk: claimed, answered, resolved; what the agent knew becomes an article"):
            article_id = f"walk-desk-{self.walk.session}"
            question = f"Do you insure bicycles in branch {self.walk.session}?"
            customer = Customer(self, "en")
            customer.say(question)
            handed_over = customer.say(ENGLISH.person)
            handoff_id = handed_over["handoff"]["handoff_id"]
            waiting = self.walk.call("GET", "/v1/support/handoffs?limit=100")["handoffs"]
            self.walk.check(handoff_id in {each["handoff_id"] for each in waiting}, "it stands in the agents' queue")
            claimed = self.walk.call("POST", f"/v1/support/handoffs/{handoff_id}:claim", {"lease_seconds": 60})
            summary = claimed["summary"]
            self.walk.check(summary["question"] == question, f"the agent reads what it is about: “{question}”")
            self.walk.call("POST", f"/v1/support/handoffs/{handoff_id}/replies", {"text": "One moment, I look it up."})
            resolution = "Yes, against theft, from 4 pounds a month."
            draft = {"article_id": article_id, "title": {"en": "Bicycle insurance"}, "tags": ["insurance"]}
            resolved = self.walk.call(
                "POST", f"/v1/support/handoffs/{handoff_id}:resolve", {"resolution": resolution, "draft": draft}
            )
            said = self.walk.call(
                "GET", f"/v1/support/conversations/{customer.conversation_id}?customer_id={customer.customer_id}"
            )
            for turn in said["turns"][-3:]:
                self.line(turn["speaker"], turn["text"])
            self.walk.check(said["turns"][-1]["text"] == resolution, "the customer reads it, and the bot has it again")
            self.walk.call("POST", f"/v1/support/drafts/{resolved['draft_id']}:approve", {})
            answer, seconds = self.answered_with(article_id, question)
            self.line("bot", answer["text"])
            self.walk.held(f"somebody approves the draft, and it answers {seconds:.2f} s later")
            self.retire(article_id, question)

    def new_article(self) -> None:
        """An article is there seconds after it was written, and gone when it is retired."""
        with self.walk.step("A new article answers seconds later, in both languages"):
            article_id = f"walk-parrots-{self.walk.session}"
            english, chinese = "Can I bring my parrot to the branch?", "可以带鹦鹉来网点吗？"
            before = {Customer(self, "").say(text)["outcome"] for text in (english, chinese)}
            self.walk.check("answer" not in before, "nobody has written about parrots yet")
            content = {
                "title": {"en": "Parrots in our branches", "zh": "带鹦鹉到网点"},
                "answer": {
                    "en": "Yes, on a perch, from 2 to 4 pm.",
                    "zh": "可以，下午 2 点到 4 点，请自备栖架。",
                },
                "phrasings": {
                    "en": ["May parrots come along?", "Can I take my parrot into a branch?"],
                    "zh": ["网点能带鹦鹉进去吗", "鹦鹉可以一起来网点吗"],
                },
            }
            started = time.perf_counter()
            self.walk.call("PUT", f"/v1/support/knowledge/{BASE}/articles/{article_id}", content)
            for text in (english, chinese):
                answer, _ = self.answered_with(article_id, text)
                self.line("customer", text)
                self.line("bot", answer["text"])
                self.walk.held(f"answered {time.perf_counter() - started:.2f} s after it was written")
            self.retire(article_id, english)

    def accepted_risk(self) -> None:
        """Operators choose a risk, and the threshold follows."""
        with self.walk.step("How sure the answers have to be: a risk is chosen, the threshold follows"):
            curves = {language: self.calibrated(language) for language in ("en", "zh")}
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
            columns = ("", "questions", "error of calibration", *(f"at most {risk:.0%} wrong" for risk in RISKS))
            for column in columns:
                table.add_column(column)
            thresholds: dict[str, list[float]] = {}
            for language, curve in curves.items():
                implied = [self.quality(language, f"?target_risk={risk}") for risk in RISKS]
                thresholds[language] = [each["threshold"] for each in implied]
                calibration = curve["calibration"]
                counts = f"{calibration['in_scope_questions']} + {calibration['out_of_scope_questions']}"
                error = f"{calibration['expected_calibration_error']:.3f}"
                covered = [f"from {each['threshold']:.2f}: {coverage(each):.0%} answered" for each in implied]
                table.add_row(language, counts, error, *covered)
            self.walk.console.print(table)
            falls = all(row == sorted(row, reverse=True) for row in thresholds.values())
            self.walk.check(falls, "who accepts more risk answers from a lower probability on")

    def feedback(self) -> None:
        """Verdicts and a pick move the curve, without the encoder being trained."""
        with self.walk.step("Feedback moves the curve"):
            before = self.calibrated("en")
            chance = random.Random(self.walk.session)  # noqa: S311 - no secret
            told = [self.judge(question, right) for question, right in questions_to_judge(chance)]
            self.walk.console.print(
                f"  {told.count('helpful')} verdicts “helpful”, {told.count('wrong')} “wrong, it is …”,"
                f" {told.count('picked')} candidates picked"
            )
            known = before["calibration"]["from_feedback"]

            def learnt() -> dict[str, Any] | None:
                after = self.quality("en")
                return after if after["calibration"]["from_feedback"] >= known + len(told) else None

            after, seconds = self.walk.until("the verdicts in the calibration", LEARNT_WITHIN_SECONDS, learnt, 0.5)
            for name, curve in (("before", before), ("after", after)):
                calibration = curve["calibration"]
                questions = calibration["in_scope_questions"] + calibration["out_of_scope_questions"]
                self.walk.console.print(
                    f"  {name + ':':8}{questions} questions, {calibration['from_feedback']} of them by feedback;"
                    f" at most {curve['target_risk']:.0%} wrong: answered from {curve['threshold']:.3f} on,"
                    f" {coverage(curve):.1%} of what is in scope"
                )
            moved = after["curve"] != before["curve"]
            self.walk.check(
                moved, f"the curve has moved {seconds:.0f} s after the verdicts, and no encoder was trained"
            )

    def trace(self) -> None:
        """One turn as one trace over all processes."""
        with self.walk.step("One trace: a customer's question"):
            customer = Customer(self, "en")
            answer = customer.say(f"How do I activate card number {self.walk.session}?")
            self.walk.show_trace(answer["_trace_id"], {"gateway", "support", "inference"})

    # What the steps are made of

    def conversation(self, script: Script) -> None:
        """A customer whose questions go through every outcome, and who is handed over in the end."""
        answered, followed_up, alone = self.followed_up(script)
        self.line("customer", script.answered)
        self.line("bot", answered["text"])
        self.source(answered)
        self.walk.check(answered["outcome"] == "answer", "answered, with its source and how sure it is")
        self.line("customer", script.follow_up)
        self.line("bot", followed_up["text"].replace("\n", " "))
        served, behind, by_itself = served_articles(followed_up), followed_up["confidence"], alone["confidence"]
        self.walk.check(
            script.follow_up_article in served and behind > by_itself,
            f"a follow-up is asked as it is and in its context, and both vote: {script.follow_up_article}, sure by"
            f" {behind:.2f}; the same words as a first question are by {by_itself:.2f}",
        )

        customer, asked_back = self.asked_back(script)
        first = asked_back["candidates"][0]
        picked = customer.take({"picked_article_id": first["article_id"]}, first["title"])
        self.walk.check(
            picked["outcome"] == "answer" and picked["answer"]["article_id"] == first["article_id"],
            f"asked back with {len(asked_back['candidates'])} candidates; the one that is picked answers",
        )
        unknown = customer.say(script.unknown[0])
        self.walk.check(
            unknown["outcome"] == "out_of_scope" and unknown["answer"] is None and not unknown["candidates"],
            "what the bank does not know is said plainly, with no nearest article",
        )
        handed_over = customer.say(script.unknown[1])
        self.handed_over(handed_over, "failed_turns", "two failed turns in a row: a person has been asked for")
        silent = customer.say(script.answered)
        self.walk.check(silent["outcome"] == "hand_off", "while a person has the conversation, the bot is silent")
        self.resolved(handed_over)

        customer = Customer(self, script.language)
        self.handed_over(customer.say(script.person), "asked_for", "who asks for a person gets one at once")
        self.resolved(customer.last)

    def followed_up(self, script: Script) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """A question, its follow-up, and the same words as a first question.

        Every part takes part in all three: the machine may still be busy with the start.
        """

        def look() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]] | None:
            customer = Customer(self, script.language)
            answered = customer.say(script.answered, shown=False)
            followed_up = customer.say(script.follow_up, shown=False)
            alone = Customer(self, script.language).say(script.follow_up, shown=False)
            whole = not any(turn["degraded"] for turn in (answered, followed_up, alone))
            return (answered, followed_up, alone) if whole else None

        turns, _ = self.walk.until("three turns that no part is missing from", FRESH_WITHIN_SECONDS, look)
        return turns

    def asked_back(self, script: Script) -> tuple["Customer", dict[str, Any]]:
        """A conversation whose first question is asked back."""
        for text in script.vague:
            customer = Customer(self, script.language)
            turn = customer.say(text, shown=False)
            if turn["outcome"] == "clarify":
                self.line("customer", text)
                self.line("bot", turn["text"].replace("\n", " "))
                return customer, turn
        raise StepFailed(f"none of {', '.join(script.vague)} is asked back")

    def handed_over(self, turn: dict[str, Any], reason: str, claim: str) -> None:
        """Checks a hand-off."""
        handoff = turn["handoff"]
        held = turn["outcome"] == "hand_off" and handoff["reason"] == reason and handoff["state"] == "queued"
        self.walk.check(held, f"{claim}; place {handoff['position'] if handoff else None} in the queue")

    def resolved(self, turn: dict[str, Any]) -> None:
        """An agent ends the hand-off of a turn, so that no walk leaves a queue behind."""
        path = f"/v1/support/handoffs/{turn['handoff']['handoff_id']}"
        self.walk.call("POST", f"{path}:claim", {"lease_seconds": 60})
        self.walk.call("POST", f"{path}:resolve", {"resolution": "It is done."})

    def answered_with(self, article_id: str, question: str) -> tuple[dict[str, Any], float]:
        """The answer to the question, once this article gives it, and the seconds that took."""

        def look() -> dict[str, Any] | None:
            turn = Customer(self, "").say(question, shown=False)
            return turn if turn["answer"] and turn["answer"]["article_id"] == article_id else None

        return self.walk.until(f"an answer by {article_id}", FRESH_WITHIN_SECONDS, look)

    def retire(self, article_id: str, question: str) -> None:
        """Retires an article, and checks that it answers no more."""
        self.walk.call("DELETE", f"/v1/support/knowledge/{BASE}/articles/{article_id}")
        turn = Customer(self, "").say(question, shown=False)
        self.walk.check(article_id not in served_articles(turn), "once retired it answers no more, from that moment on")

    def judge(self, question: str, right: str | None) -> str:
        """Asks, and says truthfully what is to be thought of the answer."""
        customer = Customer(self, "en")
        turn = customer.say(question, shown=False)
        if turn["outcome"] == "clarify":
            offered = [each["article_id"] for each in turn["candidates"]]
            if right in offered:
                customer.take({"picked_article_id": right}, right or "", shown=False)
                return "picked"
            turn = customer.take({"none_of_these": True}, "", shown=False)
        answered = turn["answer"]["article_id"] if turn["answer"] else None
        verdict: dict[str, Any] = {
            "turn_id": turn["turn_id"],
            "customer_id": customer.customer_id,
            "verdict": "helpful",
        }
        if answered != right:
            verdict |= {"verdict": "wrong", "correct_article_id": right or "none"}
        self.walk.call("POST", f"/v1/support/conversations/{customer.conversation_id}/feedback", verdict)
        return str(verdict["verdict"])

    def quality(self, language: str, query: str = "") -> dict[str, Any]:
        """The risk-coverage curve in force, and the threshold that a risk implies."""
        return self.walk.call("GET", f"/v1/support/knowledge/{BASE}/quality/{language}{query}")

    def calibrated(self, language: str) -> dict[str, Any]:
        """The curve of the base once it is calibrated on its own questions, which `timers` sees to after the seed."""

        def look() -> dict[str, Any] | None:
            curve = self.quality(language)
            return curve if curve["calibration"]["version"] != "default" else None

        curve, _ = self.walk.until(f"a calibration of {BASE} in {language}", LEARNT_WITHIN_SECONDS, look, 0.5)
        return curve

    def source(self, turn: dict[str, Any]) -> None:
        """Prints where an answer comes from."""
        answer, thresholds, versions = turn["answer"], turn["thresholds"], turn["versions"]
        if answer is None:
            return
        stages = ", ".join(f"{stage['name']} {stage['milliseconds']:.1f} ms" for stage in turn["stages"])
        self.walk.console.print(
            f"  [dim]from “{escape(answer['title'])}” (revision {answer['article_revision']}), found by"
            f" “{escape(answer['matched_phrasing'])}”; words {answer['scores']['lexical']:.2f}, meaning"
            f" {answer['scores']['dense']:.2f}, sure by {turn['confidence']:.2f}, {thresholds['answer']:.2f} is needed;"
            f" {stages}; {', '.join(versions['encoders'])}, calibration {versions['calibration']}[/]"
        )

    def line(self, speaker: str, text: str) -> None:
        """Prints a turn."""
        text = text.replace("\n", " ")
        if cell_len(text) > SHOWN_CELLS:
            text = set_cell_size(text, SHOWN_CELLS - 1).rstrip() + "…"
        self.walk.console.print(f"  [bold]{speaker + ':':10}[/]{escape(text)}")


class Customer:
    """Somebody in a conversation."""

    def __init__(self, support: Support, language: str) -> None:
        self._support = support
        self._language = language
        self.customer_id = f"walk-{support.walk.session}"
        self.conversation_id = ""
        self.last: dict[str, Any] = {}

    def say(self, text: str, *, shown: bool = True) -> dict[str, Any]:
        """Types something; the bot's turn."""
        return self.take({"question": text}, text, shown=shown)

    def take(self, turn: dict[str, Any], text: str, *, shown: bool = True) -> dict[str, Any]:
        """A turn of any kind, which reads as `text`."""
        body: dict[str, Any] = {"knowledge_base": BASE, "customer_id": self.customer_id, "explain": True} | turn
        if self._language:
            body["language"] = self._language
        path = "/v1/support/conversations" + (f"/{self.conversation_id}/turns" if self.conversation_id else "")
        self.last = self._support.walk.call("POST", path, body)
        self.conversation_id = self.last["conversation_id"] or ""
        if shown:
            self._support.line("customer", text)
            self._support.line("bot", self.last["text"])
        return self.last


def served_articles(turn: dict[str, Any]) -> frozenset[str]:
    """What a turn answers with, or asks back with."""
    return frozenset(each["article_id"] for each in (turn["answer"], *turn["candidates"]) if each is not None)


def questions_to_judge(chance: random.Random) -> Sequence[tuple[str, str | None]]:
    """Questions that nobody has asked before, each with the article that answers it, None where none does."""
    amounts = iter(chance.sample(range(11, 999), 10))
    return (
        (f"I was charged {next(amounts)} pounds twice for my groceries", "transaction_charged_twice"),
        (f"My top-up of {next(amounts)} pounds is still pending", "pending_top_up"),
        (f"My refund of {next(amounts)} pounds has still not arrived", "Refund_not_showing_up"),
        (f"I paid {next(amounts)} euros with my card and it was declined", "declined_card_payment"),
        (f"The machine kept my card when I wanted {next(amounts)} euros", "card_swallowed"),
        (f"I sent {next(amounts)} euros to the wrong account, can I cancel that?", "cancel_transfer"),
        (f"What is {next(amounts)} times {next(amounts)}?", None),
        (f"How many kilometres are {next(amounts)} miles?", None),
    )


def coverage(curve: dict[str, Any]) -> float:
    """The share of the questions in scope that is answered at the curve's threshold; 0 where nothing is."""
    return max((point["coverage"] for point in curve["curve"] if point["threshold"] >= curve["threshold"]), default=0.0)
