package ouzel.peer;

import java.nio.ByteBuffer;
import java.time.Duration;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.SessionStore;
import ouzel.peer.Enrichment.Enriched;
import ouzel.peer.Enrichment.Facts;

/**
 * The topology.
 *
 * <pre>
 *   raw --> enrich --> enriched --> sessions (a session store) --> sessions
 * </pre>
 */
final class Pipeline {
    private static final Duration GAP = Duration.ofMinutes(30);

    /** `sessions.allowed_lateness` of Ouzel. */
    private static final Duration GRACE = Duration.ofMinutes(10);

    /** The time of the event's record in `raw`, milliseconds as eight bytes: what latencies are measured from. */
    static final String INPUT_TIME = "input-time";

    private static final Serde<Enriched> ENRICHED = Serdes.serdeFrom(
            (topic, event) -> event.json(),
            (topic, bytes) -> {
                throw new UnsupportedOperationException("nobody reads them so");
            });

    private Pipeline() {}

    static Topology build(Options options, Enrichment.Sources sources) {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<Bytes, byte[]> raw = builder.stream(options.raw(), Consumed.with(Serdes.Bytes(), Serdes.ByteArray()));
        KStream<Bytes, Facts> facts;
        switch (options.sessionsFrom()) {
            case ENRICHED -> {
                raw.process(() -> new Enrich(sources)).to(options.enriched(), Produced.with(Serdes.Bytes(), ENRICHED));
                facts = builder.stream(
                        options.enriched(),
                        Consumed.with(Serdes.Bytes(), Serdes.serdeFrom(noSerializer(), factsOfHeaders()))
                                .withTimestampExtractor(eventTime()));
            }
            case RAW -> {
                KStream<Bytes, Enriched> enriched = raw.processValues(() -> new EnrichInPlace(sources));
                enriched.to(options.enriched(), Produced.with(Serdes.Bytes(), ENRICHED));
                facts = enriched.processValues(AtEventTime::new);
            }
            default -> throw new AssertionError(options.sessionsFrom());
        }
        facts.groupByKey(Grouped.with(Serdes.Bytes(), null))
                .windowedBy(SessionWindows.ofInactivityGapAndGrace(GAP, GRACE))
                .aggregate(
                        () -> Session.NONE,
                        (visitor, event, session) -> session.with(event),
                        (visitor, one, other) -> one.with(other),
                        Materialized.<Bytes, Session, SessionStore<Bytes, byte[]>>as("sessions")
                                .withKeySerde(Serdes.Bytes())
                                .withValueSerde(Session.SERDE)
                                .withCachingEnabled())
                .toStream()
                .process(Update::new)
                .to(options.sessions(), Produced.with(Serdes.Bytes(), Serdes.ByteArray()));
        return builder.build();
    }

    private static RecordHeaders headers(long inputMs) {
        RecordHeaders headers = new RecordHeaders();
        headers.add(INPUT_TIME, ByteBuffer.allocate(8).putLong(inputMs).array());
        return headers;
    }

    /** Keys by visitor, whatever the key was. */
    private static final class Enrich extends ContextualProcessor<Bytes, byte[], Bytes, Enriched> {
        private final Enrichment enrichment;

        Enrich(Enrichment.Sources sources) {
            enrichment = new Enrichment(sources);
        }

        @Override
        public void process(Record<Bytes, byte[]> record) {
            // Ouzel's control records have no value.
            if (record.value() == null) {
                return;
            }
            Enriched enriched = enrichment.enrich(record.key(), record.value(), record.timestamp());
            if (enriched != null) {
                RecordHeaders headers = headers(record.timestamp());
                headers.add(Facts.HEADER, enriched.facts().encode());
                context().forward(new Record<>(enriched.visitor(), enriched, record.timestamp(), headers));
            }
        }
    }

    /** Leaves the key, so that nothing needs to be partitioned anew. */
    private static final class EnrichInPlace extends ContextualFixedKeyProcessor<Bytes, byte[], Enriched> {
        private final Enrichment enrichment;

        EnrichInPlace(Enrichment.Sources sources) {
            enrichment = new Enrichment(sources);
        }

        @Override
        public void process(FixedKeyRecord<Bytes, byte[]> record) {
            if (record.value() == null) {
                return;
            }
            Enriched enriched = enrichment.enrich(record.key(), record.value(), record.timestamp());
            if (enriched == null) {
                return;
            }
            if (!enriched.visitor().equals(record.key())) {
                throw new IllegalStateException("the input is not keyed by visitor: leave out `--sessions-from raw`");
            }
            context().forward(record.withValue(enriched).withHeaders(headers(record.timestamp())));
        }
    }

    private static final class AtEventTime extends ContextualFixedKeyProcessor<Bytes, Enriched, Facts> {
        @Override
        public void process(FixedKeyRecord<Bytes, Enriched> record) {
            Facts facts = record.value().facts();
            context().forward(record.withValue(facts).withTimestamp(facts.time()));
        }
    }

    /** What has changed of sessions since the last commit. */
    private static final class Update extends ContextualProcessor<Windowed<Bytes>, Session, Bytes, byte[]> {
        private final Buffer buffer = new Buffer();

        @Override
        public void process(Record<Windowed<Bytes>, Session> record) {
            // A window that became a longer one is retracted; the longer one follows.
            if (record.value() == null) {
                return;
            }
            long inputMs = record.value().inputMs();
            byte[] json = Session.update(record.key(), record.value(), buffer);
            context().forward(new Record<>(record.key().key(), json, inputMs, headers(inputMs)));
        }
    }

    private static Deserializer<Facts> factsOfHeaders() {
        return new Deserializer<>() {
            @Override
            public Facts deserialize(String topic, byte[] value) {
                throw new UnsupportedOperationException("they are in headers");
            }

            @Override
            public Facts deserialize(String topic, Headers headers, byte[] value) {
                return Facts.decode(headers.lastHeader(Facts.HEADER).value());
            }

            @Override
            public Facts deserialize(String topic, Headers headers, ByteBuffer value) {
                return Facts.decode(headers.lastHeader(Facts.HEADER).value());
            }
        };
    }

    private static org.apache.kafka.common.serialization.Serializer<Facts> noSerializer() {
        return (topic, facts) -> {
            throw new UnsupportedOperationException("nobody writes them so");
        };
    }

    private static TimestampExtractor eventTime() {
        return (ConsumerRecord<Object, Object> record, long partitionTime) -> ((Facts) record.value()).time();
    }
}
