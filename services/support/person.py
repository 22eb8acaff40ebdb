"""Does the customer want a person? Said in any way, in English or Chinese, and told apart from talk about people.

Patterns, not a model: each is one way of asking, and each can be read, tested and corrected on its own. What only looks
like a wish ("人工智能", "how do I become an agent", "am I speaking with a real person?") is blotted out first.
`tests/unit/support/person_phrasings.py` holds phrasings of both kinds. The nearest of those by the encoder was tried in
their place and beside them: at as few false alarms it finds far fewer wishes, and it costs a call of the model.
"""

import re
import unicodedata

BLOT = " ; "
"""Stands where something was blotted out: a border that no pattern reaches across."""
SHORT_CHARACTERS = 60
"""A message that is nothing but the wish is not longer."""

# English. A person: `_SOMEBODY` alone can be anyone ("someone stole my card"), `_STAFF` is the company's.
_OF = (
    r"(?:(?:an?|the|some|any|another|your|one|of|actual|real|live|proper|competent|senior|human|different|other|member)"
    r"\s+){0,4}"
)
_STAFF = (
    r"(?:humans?(?:\s+beings?)?|agents?|reps?|repres\w*|operators?|advis[eo]rs?|supervisors?|managers?|experts?"
    r"|specialists?|employees?|colleagues?|c[uo]st[uo]mer\s+(?:services?|support|care)(?:\s+(?:rep\w*|agents?|executives?|team|staff|advis[eo]rs?))?"
    r"|support\s+(?:team|staff|agents?|person)|staff(?:\s+members?)?|your\s+(?:team|staff|people)"
    r"|(?:real|actual|live)\s+(?:person|people|one|chat|support))\b(?!'s|\s+rate)"
)
_SOMEBODY = r"(?:(?:some|any)(?:one|body)|people|persons?)\b(?!'s|\s+else)"
_ANYONE = rf"(?:{_STAFF}|{_SOMEBODY})"
_CALLS = r"(?:call|phone|ring|contact|get\s+in\s+touch\s+with|get\s+back\s+to|reach\s+out\s+to)\s+(?:me|us)\b"

_NO_WISH_EN = (
    r"\b(?:(?:are|r)\s+(?:you|u)|(?:if|whether)\s+you\s+are|(?:act|think)\s+like)\b[^.;!?]*",  # are you a human?
    r"\b(?:am\s+i|are\s+we)\s+(?:\w+\s+)?(?:talking|speaking|chatting)\b[^.;!?]*",
    r"\b(?:was|were|been|nice|good|great|lovely|pleasure|enjoy\w*)\s+(?:\w+\s+)?(?:talking|speaking|chatting)\b[^.;!?]*",
    r"\b(?:i'?m|i\s+am)\s+not\s+a\s+(?:ro)?bot\b",
    # Is it needed? Not: I need it.
    r"(?<!how )\bdo\s+(?:i|we)\s+(?:\w+\s+)?(?:have|need)\s+to\b[^.;!?]*",
    r"\b(?:should|must)\s+(?:i|we)\b[^.;!?]*",
    # Whom to ask about something is a question; with nothing after it, it is a wish.
    r"\bwhom?\s+(?:can|do|could|may)\s+(?:i|we)\s+\w+\s+(?:to|with)\b,?\s+\w[^.;!?]*",
    # Refused: "I don't want to talk to a human".
    rf"\b(?:don'?t|do\s+not|didn'?t|no\s+need|needn'?t|without|instead\s+of|rather\s+than|never)\s+(?:[\w']+\s+){{0,4}}?{_OF}{_ANYONE}",
    rf"\bno\s+{_STAFF}",
    # Where and when, not who.
    r"\b(?:customer\s+(?:services?|support|care)|support|agents?|operators?)(?:'s)?\s+(?:phone|tele\w*|numbers?|hours|e?-?mail|address|times?|fees?|banks?)\b",
    r"\b(?:numbers?|hours|e?-?mail|address|times?)\s+(?:of|for)\s+(?:your\s+)?(?:customer\s+\w+|support|agents?)\b",
    r"\b(?:human\s+(?:errors?|resources|translators?)|(?:user|estate|travel|letting)\s+agents?)\b",
)
_WISH_EN = (
    rf"\b(?:talk|speak|speek|chat|talking|speaking|complain)\s+(?:directly\s+)?(?:to|with)\s+{_OF}{_ANYONE}",
    rf"\b(?:connect|transfer|put|pass|hand|switch|route|direct|redirect|forward|send|refer)\s+(?:me|us)\s+(?:[\w']+\s+){{0,3}}?(?:to|with)\s+{_OF}{_ANYONE}",
    rf"\b(?:connect|transfer|pass|hand|switch|route|redirect|forward|escalate)\s+(?:(?:this|it|the|my)\s+)?(?:(?:chat|call|conversation|case|issue|problem)\s+)?(?:over\s+)?to\s+{_OF}{_STAFF}",
    rf"\b(?:be|get)\s+(?:transferred|connected|passed|forwarded|put\s+through)\s+to\s+{_OF}{_ANYONE}",
    r"\bput\s+(?:me|us)\s+through\b",
    rf"\bput\s+{_OF}{_STAFF}\s+on\b",
    rf"\b(?:reach|contact|get\s+(?:a\s+)?hold\s+of|get\s+through\s+to)\s+{_OF}{_STAFF}",
    rf"\b(?:contact\s+{_OF}{_SOMEBODY}|get\s+in\s+touch\s+with\s+{_OF}{_ANYONE})",
    rf"\b(?:get|give|find|bring|gimme|want|wants|need|prefer|like|wanna|demand|(?:can|could|may)\s+(?:i|we)\s+(?:please\s+)?have)\s+(?:(?:me|us)\s+)?{_OF}{_STAFF}",
    r"\b(?:want|need|(?:give|get|find)\s+(?:me|us))\s+an?\s+(?:(?:real|actual)\s+)?person\b(?!'s)",
    r"\b(?:give|get|find)\s+(?:me|us)\s+some(?:one|body)\b(?!'s|\s+else)",
    r"\bget\s+some(?:one|body)\s+(?:to\s+help|on\b)",
    rf"\b(?:is|are|isn'?t|aren'?t)\s+there\s+{_OF}{_STAFF}",
    r"\b(?:is|isn'?t)\s+there\s+(?:some|any)(?:one|body)(?:\s+else)?\s+(?:i|we)\s+can\s+(?:talk|speak|chat)\b",
    rf"\bany\s+{_OF}{_STAFF}\s+(?:here|there|around|available|online)\b",
    r"\b(?:any|some)(?:one|body)\s+(?:there|here)\s*(?:\?|$)",
    rf"\bwhere\s+(?:is|are)\s+{_OF}(?:humans?|people|agents?)\b",
    rf"\b(?:can|could|have|let|ask|get|tell|please)\s+{_OF}{_ANYONE}\s+(?:from\s+(?:\w+\s+){{1,2}})?(?:to\s+)?(?:please\s+)?(?:{_CALLS}|take\s+over)",
    r"\bwhom?\s+(?:can|do|could|should|may)\s+(?:i|we)\s+(?:talk|speak|chat)\s+(?:to|with)\W*$",
    r"\blive\s+(?:chat|agent|person|human|support|rep\w*|operator)\b",
)
_BOT_REFUSED_EN = (
    r"\b(?:no|stop|enough|not|hate|(?:tired|sick)\s+of|instead\s+of|(?:do\s+not|don'?t)\s+want)\b[^.,;!?]{0,30}\b(?:chat)?(?:ro)?bots?\b",
    r"\b(?:not|stop|don'?t|hate|(?:tired|sick)\s+of)\s+(?:[\w']+\s+){0,3}(?:talk|speak|chat)\w*\s+(?:to|with)\s+(?:an?\s+)?(?:machine|computer|ai)\b",
)
_ONLY_EN = (
    r"please|pls+|plz|now|asap|hi|hello|hey|ok(?:ay)?|enough|an?|the|need|want|just|i|right|immediately|urgently|me|give|get|thanks"
    r"|thank|you|on|here|speak|talk|chat|to|with|help|real|actual|live|and|for|quick(?:ly)?|then"
)

# Chinese. 客服 alone may be talked about; 人工 alone is the wish's own word.
_STAFF_ZH = (
    r"(?:人工(?:客服|服务|坐席|座席|台|客户|专员|帮助)?|真人(?:客服)?|活人|客服(?:人员|专员|经理|代表|小姐姐|姐姐|小哥)?"
    r"|专员|坐席|座席|工作人员|接线员|话务员|客户经理|经理|主管|负责人|领导|agent|human)"
)
_STAFF_OF_COMPANY = r"(?:人工|客服|真人|坐席|专员|工作人员)"
_OF_ZH = (
    r"(?:一下|下|一个|个|一位|位|一名|名|你们的|你们|您们|在线|线上|懂的"
    r"|到|给|接|至|通|为|得到|不到|不了|的|去|来|让)*"
)
_END_ZH = (
    r"(?=$|[，。！？!?,.;~…]|吗|么|嘛|吧|呢|啊|呀|呐|哦|来|帮|处理|解决|解答|回答|回复|沟通|说|聊|谈|看|联系"
    r"|跟|和|给|在|了)"
)

_NO_WISH_ZH = (
    rf"{_STAFF_OF_COMPANY}{{1,3}}(?:服务)?的?(?:电话|热线|号码|时间|费|几点|上班|微信|邮箱|工号|手续费)[^，。！？!?;]*",
    r"人工(?:审[核批]|复核|提[额升]|还款|扣款|邀请|翻译|确认|核[实对]|验证|回访|充值|柜[台面]|湖|成本|录入|操作|(?:处理|办理)(?:要|多|需))",
    r"真人(?:秀|认证|人脸|版|验证|照片)|(?:经理|主管)(?:推荐码|级别|账户|是什么)",
    r"(?:是不是|是)(?:人工|真人|机器人|客服|活人|ai)[^，。！？!?;]*",
    # Not wanted, or asked whether it is needed.
    rf"(?<![找转接联])(?:不(?:需要|想要|想|要|用|必|会|肯)?|别|无需|无须|没必要)(?:再|给我|帮我)?(?:转|找|要|联系|接|叫)?(?:到|接)?{_STAFF_ZH}[^，。！？!?;]*",
    rf"(?:需要|必须|是否要|要不要|得)(?:转|找|联系|打)?(?:到|给)?{_STAFF_ZH}[^，。！？!?;]{{0,10}}(?:吗|么|嘛|才)[^，。！？!?;]*",
    # What somebody else's, or some, agent did.
    r"(?:商家|卖家|店家|平台|淘宝|天猫|京东|微信|支付宝|自称是?的?|冒充|假冒|投诉|做|当|应聘|招聘?)(?:你们的?|一个)?客服[^，。！？!?;]*",
    r"客服(?:的?工作|的人)",
    r"(?<![跟和与同])(?:客服|工作人员|经理|专员)(?:人员)?(?:说|让|叫我|告诉|打|来电|致电|回电|骗|不理|会|多久|什么时候)[^，。！？!?;]*",
    r"(?:跟|和|与)(?:你们的?)?(?:人工)?客服(?:说|讲|沟通|聊|联系)(?:过|了)",
    rf"(?:什么时候|多久|几时|没有?)(?:会|能|才)?(?:有|会有)?{_STAFF_ZH}(?:和|跟|给)?我?(?:联系|打电话|回复|致电)[^，。！？!?;]*",
)
_WISH_ZH = (
    rf"(?:转|接)(?!账|帐|钱|款){_OF_ZH}{_STAFF_ZH}",
    rf"(?:找|叫|喊|呼叫|联系|接通|连线|派|安排|换|来个|给我|咨询|帮我|帮忙){_OF_ZH}{_STAFF_ZH}",
    rf"(?:要|有|请|求|上){_OF_ZH}{_STAFF_ZH}{_END_ZH}",
    rf"(?:和|跟|与|同)(?:一个|个|一位|你们的|你们|真|活)*(?:{_STAFF_ZH}|人)(?:说|讲|聊|谈|沟通|对话|通话|交流|联系|反映|反应)",
    rf"(?:麻烦|请|让|求|想|希望)(?:你们的?)?{_STAFF_ZH}(?:来|帮|处理|解决|解答|回答|看|跟|和|给|回|联系)",
    rf"把(?:你们的?)?{_STAFF_ZH}(?:叫|喊|找)|有{_STAFF_ZH}没",
    r"(?:换|来|找|叫|派|安排)(?:一?个|一?位)(?:懂行?的|会的|明白的|能)*(?:真|活)?人(?=$|[，。！？!?,.;]|来|跟|和|帮|给|处理|解决|说|回答)",
    r"(?:换|找)人(?=$|[，。！？!?,.;]|来|投诉|跟我|和我|处理|解决|回答)",
    r"^(?:请问|你好|您好|喂|[，,])*(?:有没有人|有人|人)(?:在|吗|么|嘛|啊|呢|没有?|不在?)+[。！？!?]*$",
)
_BOT_REFUSED_ZH = (
    r"(?:不(?:要|想|愿意?|用|需要)|别|讨厌|烦|拒绝)(?:再|让|用|跟|和|与|拿|是|叫|给我|这个?|你们的?)*(?:机器人|机器客服|智能客服|ai)(?!理财|投顾)",
)
_ONLY_ZH = (
    r"请问?|麻烦|你好|您好|亲|我|想要|需要|想|要|需|跪?求|给|帮忙|帮|谢谢|快点?|赶紧|立刻|马上|急|在不在|在线|线上|在|哪[里儿]?|有没有|没有|有|可不可以|可以|能不能|能"
    r"|你们|转接|转|接|到|找|叫|呼叫|联系|直接|现在|还是|的|服务|一下|一个|个|位|换|来|就|吗|么|嘛|吧|呢|啊|呀|呐|哦|哈|唔该|please|pls|plz|thx|thanks"
)
_SIMPLIFIED = str.maketrans(
    "轉幫務員經個給請話聯係繫說讓換來處專帳錢電線頭機還沒問題領導負責",
    "转帮务员经个给请话联系系说让换来处专帐钱电线头机还没问题领导负责",
)


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_STAFF_ALONE = re.compile(rf"{_STAFF}|\bpersons?\b(?!'s)|{_STAFF_ZH}")
_FILLER = re.compile(rf"\b(?:{_ONLY_EN})\b|{_ONLY_ZH}|[\W_]+")
_HAN = r"[㐀-鿿]"
_HAN_TEXT = re.compile(rf"{_HAN}+")
_SPACES_BESIDE_HAN = re.compile(rf"(?<={_HAN})\s+|\s+(?={_HAN})")
_EN = (_any_of(_NO_WISH_EN), _any_of(_WISH_EN + _BOT_REFUSED_EN))
_ZH = (_any_of(_NO_WISH_ZH), _any_of(_WISH_ZH + _BOT_REFUSED_ZH))


def wants_person(text: str) -> bool:
    """Whether the customer asks to be handed over to a person, in whatever language the rest is in."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    folded = " ".join(folded.split()).translate(_SIMPLIFIED).replace("人工智能", "ai")
    # Each language is looked for where the other one is not in its way.
    english, chinese = _HAN_TEXT.sub(" ", folded), _SPACES_BESIDE_HAN.sub("", folded)
    return _wished(english, *_EN) or _wished(chinese, *_ZH) or _nothing_else(chinese)


def _wished(text: str, no_wish: re.Pattern[str], wish: re.Pattern[str]) -> bool:
    return wish.search(no_wish.sub(BLOT, text)) is not None


def _nothing_else(text: str) -> bool:
    """Whether the message is a person and little words: "agent please", "人工 人工"."""
    if len(text) > SHORT_CHARACTERS or any(no_wish.search(text) for no_wish, _ in (_EN, _ZH)):
        return False
    without, named = _STAFF_ALONE.subn(" ", text)
    return named > 0 and not _FILLER.sub("", without)
