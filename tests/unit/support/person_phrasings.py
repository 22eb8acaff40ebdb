"""What customers say when they want a person, and what they say of people when they do not."""

WANTS_A_PERSON_EN = """
agent
agent please
human
human please!!
HUMAN
a real person please
real person
live agent
live person now
operator
representative
rep pls
customer service
customer support please
speak to an agent
talk to a human
i want to talk to a human
I want to speak with a real person
I'd like to speak to a representative
I would like to talk to someone from your team
can I talk to a person
Can I speak to someone please?
could i chat with a human being
may I speak to an advisor
let me talk to somebody
let me speak to your manager
please connect me to an agent
connect me with a live representative
Can you connect me to someone who can help?
transfer me to a human
please transfer this chat to an agent
put me through to customer service
Could you put me through to somebody?
get me a human
get me a real person right now
give me a human
just give me an agent
I need a human
I need an actual person
I need to speak with someone about my account
i need to talk to someone about a fraudulent activity on my card
I want a person, not a bot
I don't want to talk to a bot
I do not want to speak to a robot
stop the bot, I want a human
no more bots
is there a human I can talk to?
is there anyone I can speak to?
Is there a real person there?
are there any humans around here?
anybody there? a human I mean
how do I talk to a human?
How can I reach a real person?
how do i get hold of an agent
How do I contact customer support?
who can I talk to?
please escalate this to a human
escalate to a supervisor
I'd rather talk to a person
I prefer speaking to a human
hand me over to a colleague
hand this over to a human please
can a human take over
have someone call me back
please have an agent contact me
Hi, this isn't helping. Can I please speak with a customer service representative?
My card was declined three times today and your answers do not help, so please put me in touch with a real person.
ok enough, agent
would it be possible to speak with an actual human being?
can you get someone to help me, a real person
switch me to a live agent
I wanna talk to a human
lemme talk to a rep
gimme a human
speak with customer care
need a person asap
chat with an agent
can you pass me to a staff member
i demand to speak to a supervisor
i want to talk to costumer service
talk to a represenative
can i get a human on here
hi can i please have an agent
I'd like a human to look at this
could someone from support get in touch with me
is it possible to talk with a member of staff
Put a human on
where are the humans
Connect me with customer support
I need customer support
i need to speak to someone urgently
please let me speak to a supervisor
Id like to speak to a manager
can you transfer me to a live agent please
this bot is useless, let me talk to someone real
Can I get someone on the phone?
I want to speak to a human being now!!
let me chat with support staff
how can I speak with an actual person?
isn't there a real person who can help me
would you please forward me to an agent
Talk to agent
chat with human
human agent
speak to advisor
need an operator
want agent
agent agent agent
can I have a human please
bring me a human
I need to be transferred to a representative
i wish to speak to a customer care executive
hello? any human here?
enough with the bot
not a bot please
please route me to a person
is a live chat with an employee available
Let me talk to an expert
I want to complain to a manager
can someone call me
give me someone who understands
I need to get in touch with somebody from the bank
"""

OTHER_EN = """
How do I become an agent?
how much do your agents earn
What does the agent fee cover?
I sent the deposit to my estate agent
The travel agent charged me twice
Can I pay an agent by card?
can an agent deposit cash for me
are you a human?
are you a real person or a bot
am I speaking with a real person
are you a bot
is this an automated system
Can someone help me unblock my pin?
Can someone please tell me how much I can top-up?
someone stole my card
I think someone is using my card without my permission
I sent money to someone but they haven't got it yet
How do I transfer money to someone?
How do I transfer money to another person?
can I transfer to a person abroad
I made a payment to a person I don't know
How do I connect my phone to my account?
can I add a second person to my account
At what age can a person open an account?
How long does it take to verify a person's identity?
do i have to talk to someone to close an account or can i in the app
Do I need to speak to a representative to change my pin?
Do I have to call customer service to activate my card?
Should I contact customer support if I can't edit my details?
Who can I speak with regarding a lost card?
Who do I talk to about the ATM swallowing my card?
What are the customer service hours?
What is your customer service number?
what is the phone number of customer support
I want to close my account due to poor customer service
I contacted the seller for a refund last week but he still hasn't replied
The seller told me to contact my bank
The operator of the machine took a fee
my mobile operator changed my number
What is a human error reversal?
human resources department address
Can I verify my identity in person?
do I have to come in person
person to person payments
What is the fee per person?
can you speak Chinese?
talk me through changing my details
please speak more slowly
talk to you later
it was nice talking to you
I don't want to talk to a human, just tell me the fee
no need for an agent, what is the exchange rate?
can I do this without talking to an agent?
Can I close my account without speaking to anyone?
The agent I talked to yesterday said the fee would be refunded
I spoke to an agent last week and my card still has not come
your representative told me that it takes two days
I want to talk about an order that I placed a long time ago
I need someone to find out where my money has gone to
Someone better get back to me asap, my money is missing
Does my landlord get a representative rate?
what is artificial intelligence
how do I hire a human translator
can I give my card to another person
what does the user agent string mean
How do I get my new card?
who is the manager of this bank
can you connect to my phone
connect me with some new insurance
Get me a virtual card
I need a person's IBAN to pay them
give me the exchange rate
the merchant's agent says the refund was sent
what do I do if an agent asks for my password?
my colleague cannot log in
how do I contact the merchant
can my manager see my account
can I name another person as beneficiary
do you have human support at night?
what happens when a person dies, who gets the account
Is there a limit for someone's age?
Someone else has the same card number
someone is using my card
can I get someone else's payment back
How many people can use one account
I was talking to a friend and he said you charge fees
is my agent bank the same as the correspondent bank
who can see my balance
can I reach you from abroad
how do I speak up about fraud
does a real person check my documents?
Can I give someone access to my account?
I gave my pin to somebody, what now
person name on card is wrong
how can I get a personal loan
where can I get my representative letter
i need a card for my employee
please connect my google pay
can you transfer me 50 pounds to my savings
get me my money back
can I talk to the assistant in Spanish
will a person deliver my card
How long does a refund take, and do I need to contact an agent?
can you act and think like a real person
"""

WANTS_A_PERSON_ZH = """
人工
人工！
转人工
转人工客服
转人工服务
请转人工
帮我转人工
麻烦转一下人工客服
转接人工
转接人工坐席
给我转人工谢谢
快点转人工
马上给我转人工
我要转人工！！！
人工客服
人工服务
人工在吗
人工在哪
人工呢
人工呐
我要人工
我要人工服务
我想要人工客服
我需要人工帮助
要人工
找人工
我要找人工客服
我找真人
找个真人
真人客服
真人
有真人吗
有没有真人客服
有人吗
有人在吗
有没有人啊
有人工吗
有没有人工服务
能不能找个活人跟我说
活人在吗
我想和真人聊
我想跟人说话
能跟你们的工作人员通话吗
可以和客服人员沟通吗
我要跟客服讲
让客服来
叫客服出来
叫你们经理来
我要找你们主管
我要找你们负责人
请帮我联系客服
联系人工客服
怎么联系人工客服
怎么转人工
如何转人工服务
为什么不能转人工服务
怎么找不到人工
接人工
帮我接通人工
呼叫人工
客服
客服在吗
换人工
换个人来
换真人回答
来个人
来个人工
安排个人工给我
不要机器人
我不想跟机器人说话
别用机器人敷衍我，转人工
不要人工智能，我要人工客服
不想和AI聊，换真人
机器人听不懂，我要真人
你好，问题还没解决，麻烦帮我找个客服专员
我的卡被吞了，你说的都没用，赶紧给我转人工
客服 人工
轉人工客服
我要真人客服，唔該
转agent
找客服处理
你们能派个工作人员联系我吗
请问可以转人工吗
可不可以转人工服务呀
人工客服在哪里
我想咨询人工客服
帮忙叫一下人工
能给我找个真人吗
我要和真人对话
有真人客服吗
让真人跟我说
把你们客服叫来
我要跟你们领导反映
给我接客服
帮我接一下人工客服吧
人工坐席
人工台
转客服
转接客服
转真人
我想找你们的工作人员
你们有人工客服吗
在线客服在吗
想跟人聊
我要跟人工客服沟通
你听不懂，换个真人来
能不能别用机器人回复
我不要跟机器人聊
求人工
跪求人工客服
急，人工
麻烦人工处理一下
请安排专员联系我
让你们经理给我打电话
我要找人投诉
能转到人工台吗
还是转人工吧
你解决不了，给我人工
怎么才能跟客服说话
怎么接通人工客服
想让人工帮我看看
找个懂的人来
到底有客服没有
转让人工服务
怎么联系客服啊
"""

OTHER_ZH = """
人工智能是什么
人工智能有前途吗
你们用的是人工智能吗
计算机学人工智能好吗
人工审核要多久
人工审核不通过还能申请吗
可以人工提额吗
怎么人工提额度
人工还款怎么操作
申请人工扣款
不能人工邀请吗
人工费怎么收
人工柜台几点下班
人工湖在哪里
自动还是人工提额度
人工电话是多少
人工客服电话
人工时间几点到几点
客服电话是多少
你们的客服热线是多少
客服工作时间
为什么客服电话一直打不进
刚刚客服打电话我没接到
什么时候客服会打电话过来
客服多久会回电
有一个自称是客服的要核实我的身份证
昨天客服说两天到账，怎么还没到
客服说可以退手续费是真的吗
你是人工吗
你是真人还是机器人
你是机器人吗
你们是真人吗
怎么做客服
想应聘你们的客服
我想找客服的工作
客服，我的卡怎么还没到
你好客服，如何更改预留手机号
有人盗刷了我的卡
有人用我的卡付款了
有人转钱给我还没到账
转账给别人要手续费吗
怎么转钱给另一个人
转错人了怎么办
我转给了一个不认识的人
转账到工作人员说的账户安全吗
收款人怎么写
联系人怎么修改
紧急联系人可以换吗
换绑手机号
本人不在可以代办吗
需要本人到柜台吗
要本人去银行吗
几个人可以共用一张卡
可以给家人办副卡吗
找回密码
找不到我的卡
我不需要人工，告诉我手续费就行
不用转人工，我就问一下汇率
不要转人工
不转人工可以解决吗
必须转人工才能销户吗
销户需要联系客服吗
经理推荐码怎么填
客户经理是什么意思
真人秀会员可以用卡付吗
主管账户怎么开
机器人理财是什么
机器怎么吞了我的卡
怎么投诉
客服费是什么费用
人工翻译收费吗
需要人工审核吗
是人工审核还是系统审核
转账要人工确认吗
人工处理要多长时间
你们客服几点上班
客服说的优惠在哪里领
收到自称客服的短信怎么办
客服让我转账可信吗
有人冒充客服骗我
别人能用我的卡吗
可以转给别人吗
有人给我打了一笔钱
怎么联系商家
怎么联系收款人
商家客服不理我
淘宝客服让我找银行
换卡要多久
换一张新卡
可以让别人帮我取卡吗
能让家人来取卡吗
真人认证怎么过
真人人脸识别失败
人脸识别不通过
经理级别有什么优惠
工作人员的手续费是多少
来个汇率
给我一张虚拟卡
叫什么名字的卡最好
我换了还款的卡，什么时候会有专员联系我
没有人工跟我联系
"""


def lines(table: str) -> list[str]:
    """The phrasings of a table, one a line."""
    return [line for line in table.splitlines() if line]
