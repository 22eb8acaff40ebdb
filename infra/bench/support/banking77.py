"""`python -m infra.bench.support.banking77 --data FOLDER`: banking77's test questions, put to the running service.

Its training phrasings are the base, an article an intent. The two lines go into the report of `make eval-support`.
"""

import argparse
import asyncio
import json
from dataclasses import asdict
from pathlib import Path

from encoders.training import data
from encoders.training.data import Phrasings
from infra.bench.support import running
from support.training.evaluation import Measured, table

NAME = "banking77 as FAQ, through the running service"


def main() -> None:
    """Measures, prints, adds to the report."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.support.banking77", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds banking77")
    parser.add_argument("--report", type=Path, default=Path("build/eval/support.json"))
    options = parser.parse_args()
    lines = asyncio.run(_measured(*data.banking77(options.data), options.report.parent / "system.log"))
    print(table(lines))  # noqa: T201
    report = json.loads(options.report.read_text()) if options.report.exists() else {"results": []}
    report["results"] = [each for each in report["results"] if each["data"] != NAME] + list(map(asdict, lines))
    options.report.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


async def _measured(known: Phrasings, asked: Phrasings, log: Path) -> list[Measured]:
    # An intent's name may have a "?", which an article's may not.
    articles: dict[str, list[str]] = {}
    for text, intent in zip(known.texts, known.intents, strict=True):
        articles.setdefault(intent.replace("?", ""), []).append(text)
    questions = [(text, intent.replace("?", "")) for text, intent in zip(asked.texts, asked.intents, strict=True)]
    with running.service(log) as home:
        client = running.Client(home, "banking77")
        try:
            await client.fill(articles)
            [encoder, *_] = (await client.ask(questions[0][0])).versions.encoders
            first, first_five = await client.recall(questions)
        finally:
            await client.close()
    return [
        Measured(NAME, "hybrid R@1", len(questions), encoder, first, ".920", ".940"),
        Measured(NAME, "hybrid R@5", len(questions), encoder, first_five, ".990", ".993"),
    ]


if __name__ == "__main__":
    main()
