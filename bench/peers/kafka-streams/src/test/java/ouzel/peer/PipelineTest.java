package ouzel.peer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TestOutputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.test.TestRecord;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the job says of fixed events is what `ouzel run --input FILE --output -` says of them, with the same files. */
class PipelineTest {
    private static final String CHROME = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like"
            + " Gecko) Chrome/141.0.0.0 Safari/537.36";

    @TempDir
    Path state;

    private static File data(String path) {
        String named = System.getenv("OUZEL_TEST_DATA");
        File dir = named != null ? new File(named) : new File("../../../../shared/data");
        File file = new File(dir, path);
        assertTrue(file.isFile(), "no " + file + ": set OUZEL_TEST_DATA to the directory of test data");
        return file;
    }

    private Options options(String... more) {
        List<String> args = new java.util.ArrayList<>(List.of(
                "--geo", data("geo/maxmind-testdb/test-data/GeoLite2-City-Test.mmdb").getPath(),
                "--agents", data("ua/regexes.yaml").getPath(),
                "--state-dir", state.toString()));
        args.addAll(List.of(more));
        return Options.parse(args.toArray(String[]::new));
    }

    private static String event(String id, String visitor, String time, String context) {
        return "{\"type\":\"page\",\"messageId\":\"" + id + "\",\"anonymousId\":\"" + visitor + "\",\"timestamp\":\""
                + time + "\",\"context\":" + context + "}";
    }

    /** The `enriched` member without the time, which is now. */
    private static String member(String json) {
        String member = json.substring(json.indexOf("\"enriched\":"));
        return member.replaceFirst("\"at\":\"[^\"]*\",", "");
    }

    @ParameterizedTest
    @ValueSource(strings = {"enriched", "raw"})
    void eventsAreEnrichedAndSessionsAreTold(String from) throws Exception {
        Options options = options("--sessions-from", from);
        var properties = Main.properties(options);
        try (var driver = new TopologyTestDriver(
                Pipeline.build(options, new Enrichment.Sources(options)), properties, Instant.EPOCH)) {
            var strings = new StringDeserializer();
            TestInputTopic<String, String> raw =
                    driver.createInputTopic("raw", new StringSerializer(), new StringSerializer());
            TestOutputTopic<String, String> enriched = driver.createOutputTopic("enriched", strings, strings);
            TestOutputTopic<String, String> sessions = driver.createOutputTopic("sessions", strings, strings);

            long input = Instant.parse("2026-11-22T20:00:00Z").toEpochMilli();
            String first = event("m-1", "v-81", "2026-11-22T19:30:00.120Z",
                    "{\"ip\":\"2.125.160.216\",\"userAgent\":\"" + CHROME + "\",\"page\":{\"url\":"
                            + "\"https://market.example/?utm_source=news%20letter&gclid=g\"},"
                            + "\"campaign\":{\"medium\":\"email\"}}");
            raw.pipeInput("v-81", first, input);
            TestRecord<String, String> out = enriched.readRecord();
            assertEquals("v-81", out.key());
            assertEquals(input, out.timestamp());
            assertEquals(input, ByteBuffer.wrap(out.headers().lastHeader(Pipeline.INPUT_TIME).value()).getLong());
            assertTrue(out.value().startsWith(first.substring(0, first.length() - 1) + ",\"enriched\":{\"v\":1,\"at\":\""));
            assertEquals("\"enriched\":{\"v\":1,\"revision\":0,"
                    + "\"geo\":{\"country\":\"GB\",\"region\":\"England\",\"city\":\"Boxford\",\"postal\":\"OX1\","
                    + "\"lat\":51.75,\"lon\":-1.25,\"tz\":\"Europe/London\"},"
                    + "\"device\":{\"kind\":\"desktop\",\"browser\":\"Chrome\",\"browser_version\":\"141.0.0\","
                    + "\"os\":\"Mac OS X\",\"os_version\":\"10.15.7\"},"
                    + "\"campaign\":{\"source\":\"news letter\",\"medium\":\"email\",\"network\":\"Google\","
                    + "\"click_id\":{\"gclid\":\"g\"}},"
                    + "\"visitor\":{\"id\":\"v-81\",\"how\":\"given\"},\"status\":{}}}", member(out.value()));

            // 29 minutes later, out of order, and after a pause that is too long.
            String page = "{\"page\":{\"url\":\"/b\"}}";
            raw.pipeInput("v-81", event("m-2", "v-81", "2026-11-22T19:59:00Z", page), input + 1);
            raw.pipeInput("v-81", event("m-3", "v-81", "2026-11-22T19:45:00Z", page.replace("/b", "/c")), input + 2);
            raw.pipeInput("v-81", event("m-4", "v-81", "2026-11-22T20:40:00Z", page), input + 3_600_000);
            List<TestRecord<String, String>> told = sessions.readRecordsToList();
            String third = told.get(2).value();
            assertEquals("v-81", told.get(2).key());
            assertEquals(input + 2, told.get(2).timestamp());
            assertTrue(third.contains("\"start\":\"2026-11-22T19:30:00.120000Z\",\"end\":\"2026-11-22T19:59:00.000000Z\","
                    + "\"events\":3,\"views\":3,\"landing_page\":\"https://market.example/?utm_source=news%20letter&gclid=g\","
                    + "\"last_page\":\"/b\"}"), third);
            assertTrue(told.get(3).value().contains("\"events\":1,"), told.get(3).value());
            assertFalse(told.get(3).value().contains(third.substring(24, 75)), "another session");
        }
    }

    @Test
    void whatOuzelRefusesIsPassedOver() throws Exception {
        Options options = options();
        Enrichment enrichment = new Enrichment(new Enrichment.Sources(options));
        for (String json : List.of(
                "", "[]", "{\"type\":\"a\"", "{}", "{\"type\":\"a\"}x", "{\"type\":\"a\",\"timestamp\":\"yesterday\"}",
                "{\"type\":\"a\",\"timestamp\":\"2026-13-01T00:00:00Z\"}", "{\"type\":\"a\",\"enriched\":{}}")) {
            assertEquals(null, enrichment.enrich(null, json.getBytes(StandardCharsets.UTF_8), 0), json);
        }
        byte[] user = "{\"event\":\"a\",\"userId\":7}".getBytes(StandardCharsets.UTF_8);
        assertEquals("user:7", new String(enrichment.enrich(null, user, 5).visitor().get(), StandardCharsets.UTF_8));
        assertEquals(5, enrichment.enrich(null, user, 5).facts().time());
    }

    @Test
    void campaignsOfUrls() {
        for (String[] of : new String[][] {
            {"/x?utm_source=&mkt_source=b", "{\"source\":\"b\"}"},
            {"/x?mkt_source=b&utm_source=a", "{\"source\":\"a\"}"},
            {"/x?utm_source=c&utm_source=d#&utm_medium=late", "{\"source\":\"c\"}"},
            {"/x?utm%5Fsource=a+b%20c%22", "{\"source\":\"a b c\\\"\"}"},
            {"/x?utm_campaign=%FF&utm_content=%", "{\"name\":\"\ufffd\",\"content\":\"%\"}"},
            {"/x?msclkid=m&gclid=g", "{\"network\":\"Google\",\"click_id\":{\"gclid\":\"g\"}}"},
            {"/x?msclkid=m&gclid=", "{\"network\":\"Microsoft\",\"click_id\":{\"msclkid\":\"m\"}}"},
            {"/x?UTM_SOURCE=a&b", ""},
        }) {
            Event event = new Event();
            event.url = of[0];
            Buffer out = new Buffer();
            new Campaign().write(event, out);
            String text = new String(out.toArray(), StandardCharsets.UTF_8);
            assertEquals(of[1].isEmpty() ? "" : ",\"campaign\":" + of[1], text, of[0]);
        }
    }

    @Test
    void timesAreRead() {
        for (String text : List.of(
                "2026-11-22T19:30:00.120Z", "2026-11-22T12:00:00.030760Z", "1970-01-01T00:00:00Z", "2024-02-29T23:59:59.9Z",
                "2026-11-22T20:30:00+01:00")) {
            assertEquals(java.time.OffsetDateTime.parse(text).toInstant().toEpochMilli(), Time.parse(text), text);
        }
        for (String text : List.of("2026-11-22T19:30:00", "2026-02-30T00:00:00Z", "2026-11-22T24:30:00Z", "x", "")) {
            org.junit.jupiter.api.Assertions.assertThrows(java.time.DateTimeException.class, () -> Time.parse(text), text);
        }
    }
}
