package ouzel.peer;

import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.BloomFilter;
import org.rocksdb.Cache;
import org.rocksdb.LRUCache;
import org.rocksdb.WriteBufferManager;

/** The job: prints `READY` when it runs, ends in order on SIGTERM. Exit codes: 0 ended in order, 1 failed, 2 usage. */
public final class Main {
    /** For tasks to commit and close. */
    private static final Duration CLOSE_MAX = Duration.ofSeconds(30);

    private static final long MIB = 1 << 20;

    private Main() {}

    public static void main(String[] args) throws Exception {
        Options options;
        try {
            options = Options.parse(args);
        } catch (IllegalArgumentException e) {
            System.err.println("kafka-streams-peer: " + e.getMessage());
            System.exit(2);
            return;
        }
        KafkaStreams streams =
                new KafkaStreams(Pipeline.build(options, new Enrichment.Sources(options)), properties(options));
        AtomicBoolean ready = new AtomicBoolean();
        AtomicBoolean failed = new AtomicBoolean();
        streams.setStateListener((state, before) -> {
            if (state == KafkaStreams.State.RUNNING && ready.compareAndSet(false, true)) {
                System.out.println("READY");
            }
            if (state == KafkaStreams.State.ERROR) {
                failed.set(true);
                // Not here: the hook waits for the thread that calls this.
                new Thread(() -> System.exit(1)).start();
            }
        });
        // It is logged already.
        streams.setUncaughtExceptionHandler(e -> StreamThreadExceptionResponse.SHUTDOWN_CLIENT);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            boolean closed = streams.close(CLOSE_MAX);
            System.err.println("enriched " + Enrichment.ENRICHED + ", refused " + Enrichment.REFUSED
                    + (closed ? ", closed" : ", not closed in " + CLOSE_MAX.toSeconds() + " s"));
            // A signal's own code says nothing about how it went.
            Runtime.getRuntime().halt(closed && !failed.get() ? 0 : 1);
        }));
        streams.start();
    }

    static Properties properties(Options options) {
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, options.applicationId());
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.bootstrap());
        p.put(StreamsConfig.STATE_DIR_CONFIG, options.stateDir().getPath());
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, options.threads());
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, options.commitMs());
        p.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 128 * MIB);
        p.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, Rocks.class);
        // No task has two inputs, so none waits for the other.
        p.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, StreamsConfig.MAX_TASK_IDLE_MS_DISABLED);

        // What is fetched waits at the broker for at most 5 ms when there is little, and comes in large pieces when
        // there is much.
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG), 5);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), (int) (4 * MIB));
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6_000);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 1_000);

        // Nobody sees a record before its transaction ends, so batches may fill until then.
        p.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), Math.max(1, options.commitMs() / 2));
        p.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 64 * MIB);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), options.compression());
        return p;
    }

    /** One block cache and one bound of write buffers for all stores of the process, and bloom filters. */
    public static final class Rocks implements RocksDBConfigSetter {
        private static final Cache CACHE;
        private static final WriteBufferManager BUFFERS;

        static {
            org.rocksdb.RocksDB.loadLibrary();
            CACHE = new LRUCache(128 * MIB);
            BUFFERS = new WriteBufferManager(64 * MIB, CACHE);
        }

        @Override
        public void setConfig(String store, org.rocksdb.Options options, Map<String, Object> configs) {
            BlockBasedTableConfig table = (BlockBasedTableConfig) options.tableFormatConfig();
            table.setBlockCache(CACHE);
            table.setCacheIndexAndFilterBlocks(true);
            table.setPinTopLevelIndexAndFilter(true);
            table.setBlockSize(8 << 10);
            table.setFilterPolicy(new BloomFilter(10));
            options.setTableFormatConfig(table);
            options.setWriteBufferManager(BUFFERS);
            options.setWriteBufferSize(16 * MIB);
            options.setMaxWriteBufferNumber(3);
        }

        @Override
        public void close(String store, org.rocksdb.Options options) {
            // What is shared lives as long as the process.
        }
    }
}
