"""Asks the recommender and support by turns from inside a cluster until SIGTERM, then says what came of it, in JSON.

python load.py GATEWAY API_KEY CLIENTS REQUESTS_PER_SECOND. Connections are kept alive, as any client's are: what a
server that goes away does to them is what is to be seen. Nothing is tried again.
"""

import json
import signal
import sys
import threading
import time
from collections import Counter

import httpx

QUESTIONS = ("My card payment was declined, why?", "充值失败了是什么原因？")


def client(
    gateway: str, key: str, pause: float, stop: threading.Event, outcomes: Counter[str], slow: list[float]
) -> None:
    with httpx.Client(base_url=gateway, headers={"Authorization": f"Bearer {key}"}, timeout=10.0) as http:
        user = 0
        while not stop.wait(pause):
            user = user % 900 + 1
            started = time.monotonic()
            try:
                if user % 2:
                    answer = http.post("/v1/recommendations", json={"user_id": str(user), "limit": 5})
                else:
                    turn = {"knowledge_base": "bank", "question": QUESTIONS[user // 2 % 2]}
                    answer = http.post("/v1/support/conversations", json=turn)
                outcome = "ok" if answer.status_code == 200 else f"{answer.status_code}: {answer.text[:200]}"
                if outcome == "ok" and answer.json()["degraded"]:
                    outcome = f"degraded: {sorted(answer.json()['degraded'])}"
            except httpx.HTTPError as error:
                outcome = f"{type(error).__name__}: {error}"
            outcomes[outcome] += 1
            slow.append(time.monotonic() - started)


def main() -> None:
    gateway, key, clients, rate = sys.argv[1:]
    stop, outcomes, times = threading.Event(), Counter[str](), list[float]()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    arguments = (gateway, key, int(clients) / float(rate), stop, outcomes, times)
    threads = [threading.Thread(target=client, args=arguments) for _ in range(int(clients))]
    for thread in threads:
        thread.start()
    while not stop.wait(5):
        print(json.dumps(dict(outcomes)), flush=True)
    for thread in threads:
        thread.join()
    times.sort()
    print(json.dumps({"outcomes": dict(outcomes), "p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)]}))


if __name__ == "__main__":
    main()
