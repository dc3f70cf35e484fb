"""Reads Rolecall's events from Kafka: every user's history, decoded, as it happens.

    pip install confluent-kafka fastavro
    python docs/examples/consumer.py            # addresses come from .local/rolecall.env or the environment
    python docs/examples/consumer.py --once     # ends when all that is there by now was read
"""

import argparse
import io
import json
import os
import pathlib
import sys
import urllib.request

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from fastavro import parse_schema, schemaless_reader


def setting(name, default):
    """From the environment, or from the file that `just up` writes."""
    file = pathlib.Path(".local/rolecall.env")
    lines = file.read_text().splitlines() if file.exists() else []
    written = dict(line.split("=", 1) for line in lines)
    return os.environ.get(name) or written.get(name) or default


class Decoder:
    """Confluent framing: a zero byte, the schema's id in four, then Avro. A schema never changes, so each is asked for once."""

    def __init__(self, registry_url):
        self.registry_url = registry_url
        self.schemas = {}

    def decode(self, value):
        if value[0] != 0:
            raise ValueError("not framed")
        schema_id = int.from_bytes(value[1:5], "big")
        if schema_id not in self.schemas:
            with urllib.request.urlopen(f"{self.registry_url}/schemas/ids/{schema_id}") as answer:
                self.schemas[schema_id] = parse_schema(json.loads(json.load(answer)["schema"]))
        return schemaless_reader(io.BytesIO(value[5:]), self.schemas[schema_id], None)


def readable(value):
    """Personal data is encrypted under the user's own key: without it, it is bytes for ever."""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return str(value)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--topic", default=setting("TOPIC_PREFIX", "rolecall") + ".users")
    arguments.add_argument("--once", action="store_true", help="end at the end of the topic")
    arguments = arguments.parse_args()

    consumer = Consumer({
        "bootstrap.servers": setting("KAFKA_BOOTSTRAP", "localhost:9092"),
        "group.id": "rolecall-example",
        # The events of a transaction that was aborted never happened: without this line you would see them.
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        # This example starts over each time; a real consumer commits, and makes its own writes idempotent by event id.
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    })
    decoder = Decoder(setting("SCHEMA_REGISTRY_URL", "http://localhost:8085/apis/ccompat/v7"))
    partitions = consumer.list_topics(arguments.topic, timeout=10).topics[arguments.topic].partitions
    if not partitions:
        sys.exit(f"no topic {arguments.topic}: is Rolecall up?")
    consumer.assign([TopicPartition(arguments.topic, partition, OFFSET_BEGINNING) for partition in partitions])

    unread = set(partitions)
    while unread or not arguments.once:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                sys.exit(str(message.error()))
            unread.discard(message.partition())
            continue
        headers = {name: value.decode() for name, value in message.headers()}
        event = decoder.decode(message.value())
        data = " ".join(f"{name}={readable(value)}" for name, value in event["data"].items() if value is not None)
        place = f"{message.partition()}@{message.offset()}"
        print(f"{event['meta']['occurred_at']:%H:%M:%S.%f} {place:>7} {headers['ce_type']:<20} "
              f"{headers['ce_subject']} {data}", flush=True)
    consumer.close()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
