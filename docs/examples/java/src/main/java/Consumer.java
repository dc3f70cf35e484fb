import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Reads Rolecall's events from Kafka. The addresses come from the environment:
 *
 * <pre>
 * set -a; . .local/rolecall.env; set +a
 * mvn -q -f docs/examples/java compile exec:java                      # until Ctrl-C
 * mvn -q -f docs/examples/java compile exec:java -Dexec.args=--once   # ends when all that is there was read
 * </pre>
 */
public final class Consumer {
    private final HttpClient http = HttpClient.newHttpClient();
    private final Map<Integer, Schema> schemas = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        new Consumer().run(List.of(arguments).contains("--once"));
    }

    private void run(boolean once) throws Exception {
        String topic = setting("TOPIC_PREFIX", "rolecall") + ".users";
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", setting("KAFKA_BOOTSTRAP", "localhost:9092"),
                "group.id", "rolecall-example",
                // Java's default is read_uncommitted: it shows events of aborted transactions, which never happened.
                "isolation.level", "read_committed",
                // This example starts over each time; a real consumer commits.
                "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(partition -> new TopicPartition(topic, partition.partition()))
                    .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (!once || ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                for (var message : consumer.poll(Duration.ofSeconds(1))) {
                    print(message);
                }
            }
        }
    }

    private void print(ConsumerRecord<String, byte[]> message) throws Exception {
        GenericRecord event = decode(message.value());
        GenericRecord data = (GenericRecord) event.get("data");
        StringBuilder line = new StringBuilder();
        for (Schema.Field field : data.getSchema().getFields()) {
            if (data.get(field.name()) != null) {
                line.append(' ').append(field.name()).append('=').append(readable(data.get(field.name())));
            }
        }
        String type = new String(message.headers().lastHeader("ce_type").value(), StandardCharsets.UTF_8);
        System.out.printf("%d@%-4d %-20s %s%s%n", message.partition(), message.offset(), type, message.key(), line);
    }

    /** Personal data is encrypted under the user's own key: without it, it is bytes for ever. */
    private static String readable(Object value) {
        return value instanceof ByteBuffer bytes ? "<" + bytes.remaining() + " bytes>" : value.toString();
    }

    /** Confluent framing: a zero byte, the schema's id in four, then Avro. */
    private GenericRecord decode(byte[] value) throws Exception {
        ByteBuffer framed = ByteBuffer.wrap(value);
        if (framed.get() != 0) {
            throw new IOException("not framed");
        }
        Schema schema = schema(framed.getInt());
        var avro = DecoderFactory.get().binaryDecoder(value, framed.position(), framed.remaining(), null);
        return new GenericDatumReader<GenericRecord>(schema).read(null, avro);
    }

    /** A schema never changes, so each is asked for once. */
    private Schema schema(int id) throws Exception {
        Schema known = schemas.get(id);
        if (known == null) {
            String registry = setting("SCHEMA_REGISTRY_URL", "http://localhost:8085/apis/ccompat/v7");
            var request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).build();
            String answer = http.send(request, HttpResponse.BodyHandlers.ofString()).body();
            known = new Schema.Parser().parse(new ObjectMapper().readTree(answer).get("schema").asText());
            schemas.put(id, known);
        }
        return known;
    }

    private static String setting(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }
}
