"""Kafka over TLS, and users who prove themselves: every client of ours, against a real broker that asks for both."""

import pytest
from structlog.testing import capture_logs

from casebook.behaviour.v1.events_pb2 import BehaviourEvent
from casebook.catalogue.v1.catalogue_pb2 import ItemChanged
from chassis import dead_letters, topics
from chassis.errors import Unavailable
from chassis.events import EventConsumer, EventProducer, Handler, TopicFollower
from chassis.settings import Settings
from tests.fixtures.certificates import Authority
from tests.fixtures.kafka import Broker, kafka_libs, running, wait_until

PASSWORD = "a password"


class SecuredKafka:
    """A broker, and the settings of who may and who may not reach it."""

    def __init__(self, folder):
        self.authority = Authority(folder)
        self.other_authority = Authority(folder, "other")
        self.client = self.authority.issue("gateway")
        self.stranger = self.other_authority.issue("stranger")
        server = self.authority.issue("kafka", "127.0.0.1")
        self._keystore = folder / "keystore.pem"
        self._keystore.write_bytes(server.key.read_bytes() + server.certificate.read_bytes())
        self.broker = Broker(kafka_libs(), folder / "broker", self._security())

    def _security(self):
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        plain = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_plain="{PASSWORD}";'
        return f"""
ssl.keystore.type=PEM
ssl.keystore.location={self._keystore}
ssl.truststore.type=PEM
ssl.truststore.location={self.authority.file}
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram}
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram}
listener.name.sasl_ssl.plain.sasl.jaas.config={plain}
"""

    def tls(self, files=None, authority=None):
        files = files or self.client
        return Settings(
            kafka_bootstrap=f"127.0.0.1:{self.broker.tls_port}",
            kafka_security_protocol="SSL",
            kafka_ca_file=str((authority or self.authority).file),
            kafka_cert_file=str(files.certificate),
            kafka_key_file=str(files.key),
            default_deadline_seconds=3.0,
        )

    def sasl(self, mechanism="SCRAM-SHA-512", password=PASSWORD):
        return Settings(
            kafka_bootstrap=f"127.0.0.1:{self.broker.sasl_port}",
            kafka_security_protocol="SASL_SSL",
            kafka_ca_file=str(self.authority.file),
            kafka_sasl_mechanism=mechanism,
            kafka_username="plain" if mechanism == "PLAIN" else mechanism.lower(),
            kafka_password=password,
            default_deadline_seconds=3.0,
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    kafka = SecuredKafka(tmp_path_factory.mktemp("secured"))
    users = [f"{name}=[name={name.lower()},password={PASSWORD}]" for name in ("SCRAM-SHA-512", "SCRAM-SHA-256")]
    kafka.broker.format(*users)
    kafka.broker.start()
    yield kafka
    kafka.broker.stop()


WAYS = {
    "tls": SecuredKafka.tls,
    "scram-sha-512": SecuredKafka.sasl,
    "scram-sha-256": lambda kafka: kafka.sasl("SCRAM-SHA-256"),
    "plain": lambda kafka: kafka.sasl("PLAIN"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_client_gets_through(secured, way):
    settings, topic = WAYS[way](secured), f"test.{way}.v1"
    handled, followed = [], []
    wanted = [topics.Topic(name, partitions=1, replication=1) for name in (topic, f"{topic}.dlq")]

    assert topic in topics.apply(settings, wanted).created
    producer = EventProducer(settings, source="gateway")
    producer.publish_blocking(topic, "acme:u1", BehaviourEvent(item_id="i1"), "acme")
    handlers = {topic: Handler(BehaviourEvent, handled.append)}
    consumer = EventConsumer(settings, f"recommender.{way}", handlers, producer=producer)
    with running(consumer, TopicFollower(settings, topic, BehaviourEvent, followed.append)):
        wait_until("the event to be handled and followed", lambda: handled and followed)
        producer.publish_blocking(topic, "acme:i1", ItemChanged(), "acme")
        wait_until("the event of another type in the dead letters", lambda: dead_letters.list_letters(settings, topic))
    producer.close()


REFUSED = {
    "a certificate of another authority": lambda kafka: kafka.tls(files=kafka.stranger),
    "a broker of another authority": lambda kafka: kafka.tls(authority=kafka.other_authority),
    "a wrong password": lambda kafka: kafka.sasl(password="guessed"),
    "a wrong password, plain": lambda kafka: kafka.sasl("PLAIN", password="guessed"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_nobody_else_does(secured, why):
    producer = EventProducer(REFUSED[why](secured), source="gateway")

    with pytest.raises(Unavailable):
        producer.publish_blocking("test.refused.v1", "acme:u1", BehaviourEvent(), "acme")
    producer.close()


def test_consumer_that_is_refused_goes_on_trying_until_it_is_stopped(secured):
    consumer = EventConsumer(secured.sasl(password="guessed"), "recommender.refused", {})

    with capture_logs() as logged, running(consumer):
        wait_until("the refusal in the logs", lambda: [line for line in logged if line["log_level"] == "warning"])

    assert "guessed" not in str(logged)
