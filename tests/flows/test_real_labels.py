"""Four public sets of labelled texts, each to a report with a small encoder made from its own training texts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tests.flows.conftest import REPOSITORY, Fettle

pytestmark = [pytest.mark.xdist_group("flows-real_labels"), pytest.mark.soak]

DATA = REPOSITORY.parent / "shared" / "data" / "classification"
RECIPES: dict[str, dict[str, Any]] = {
    "banking77": {"file": "banking77.parquet"},
    "twitter": {
        "file": "twitter_financial_news_topic.parquet",
        "encoder": {"warm_up": {"epochs": 3, "learning_rate": 2.0e-3, "batch_size": 64}},
        "training": {"epochs": 6, "batch_size": 64, "token_dropout": 0.2},
    },
    "sst2": {
        "file": "sst2_sentences.parquet",
        "label_names": ["negative", "positive"],
        "encoder": {"warm_up": {"batch_size": 64}},
        "training": {"epochs": 6, "learning_rate": 5.0e-4, "token_dropout": 0.3},
    },
    "phrasebank": {
        "file": "financial_phrasebank_50agree.parquet",
        "encoder": {"warm_up": {"epochs": 10, "batch_size": 64}},
        "training": {"epochs": 6, "token_dropout": 0.2},
    },
}


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data: {DATA} is absent")
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_real_set_comes_to_a_report_that_says_where_it_is_below(name: str, fettle: Fettle, tmp_path: Path) -> None:
    settings = dict(RECIPES[name])
    source = {"name": name, "uri": str(DATA / settings.pop("file")), "label_names": settings.pop("label_names", [])}
    recipe = {"kind": "classification", "name": name, "sources": [source], **settings}
    (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    store = tmp_path / "store"
    answer = fettle("run", str(tmp_path / f"{name}.yaml"), "--store", str(store), "--json")
    assert answer.code in (0, 3), answer.err
    opened = Store(str(store))
    made = {record.verb: opened.manifest(record.address).artifact for record in runs.recent(opened)[0].stages}
    scores = {
        row["model"]: row["value"]
        for row in opened.rows(made["evaluate"], "models")
        if row["split"] == "test" and row["metric"] == "macro_f1"
    }
    is_below = any("below" in warning for warning in made["evaluate"].warnings)
    assert is_below == (scores["tuned"] < scores["tfidf"])
    page = Path(answer.json["report"]).read_text(encoding="utf-8")
    assert ("below TF-IDF" in page) == is_below
