"""The entity features: one row a user, written by `recommender consume` and read once a request.

Items are no entity here: hundreds of candidates a request would be hundreds of rows, so their features live in the
recommender's memory (services/recommender/catalogue.py).
"""

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String

user = Entity(
    name="user",
    join_keys=["user_key"],
    value_type=ValueType.STRING,
    description='A user of a tenant, "<tenant>:<user id>".',
)

# Where the training sink's rows would be materialised from; the online store is written directly, event by event.
behaviour = FileSource(name="behaviour", path="data/behaviour.parquet", timestamp_field="event_timestamp")

user_features = FeatureView(
    name="user_features",
    entities=[user],
    ttl=timedelta(days=90),
    schema=[
        Field(name="age", dtype=Int64, description="Years; 0 when unknown."),
        Field(name="gender", dtype=String),
        Field(name="occupation", dtype=String),
        Field(name="segment", dtype=String, description="The group whose popular items a user without history gets."),
        Field(name="events", dtype=Int64, description="Events with a preference, impressions left out."),
        Field(name="rating_sum", dtype=Float64, description="Stars."),
        Field(name="likes", dtype=Int64, description="Events of 4 stars and more."),
        Field(name="dislikes", dtype=Int64, description="Events of 2 stars and less."),
    ],
    source=behaviour,
    online=True,
)
