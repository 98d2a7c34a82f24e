package ouzel.peer;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.utils.Bytes;

/** Enriches one event after another: the bytes as they came with one more member. One for each thread's task. */
final class Enrichment {
    /** The data that all threads share. */
    record Sources(Geo geo, Agents agents) {
        Sources(Options options) throws IOException {
            this(new Geo(options.geo()), new Agents(options.agents()));
        }
    }

    /** What became of events, of all threads. */
    static final AtomicLong ENRICHED = new AtomicLong();
    static final AtomicLong REFUSED = new AtomicLong();

    private final Sources sources;
    private final Event event = new Event();
    private final Campaign campaign = new Campaign();
    private final Buffer member = new Buffer();
    private final Buffer now = new Buffer();
    private long nowMs;
    private byte[] nowJson;

    Enrichment(Sources sources) {
        this.sources = sources;
    }

    /** An event, enriched. `inputMs` is the time of its record in `raw`. */
    record Enriched(Bytes visitor, byte[] json, Facts facts) {}

    /** Null for what Ouzel would refuse. `key` is the record's in `raw`, or null. */
    Enriched enrich(Bytes key, byte[] json, long inputMs) {
        if (!event.read(json)) {
            REFUSED.incrementAndGet();
            return null;
        }
        Bytes visitor = visitor(key);
        member.clear();
        member.put(",\"enriched\":{\"v\":1,\"at\":").put(now()).put(",\"revision\":0");
        String geoStatus = "skipped";
        if (event.ip != null) {
            byte[] geo = sources.geo.of(event.ip);
            geoStatus = geo == Geo.MISS ? "miss" : null;
            if (geoStatus == null) {
                member.put(",\"geo\":").put(geo);
            }
        }
        if (event.agent != null) {
            member.put(",\"device\":").put(sources.agents.of(event.agent));
        }
        campaign.write(event, member);
        member.put(",\"visitor\":{\"id\":").string(visitor.get());
        member.put(",\"how\":\"").put(event.visitor != null ? "given" : event.user != null ? "user" : "hash");
        member.put("\"},\"status\":{");
        if (geoStatus != null) {
            member.put("\"geo\":\"").put(geoStatus).put('"');
        }
        if (event.agent == null) {
            member.put(geoStatus == null ? "" : ",").put("\"device\":\"skipped\"");
        }
        member.put("}}");
        ENRICHED.incrementAndGet();
        // As Ouzel counts for its watermark: a clock that is ahead makes nobody late.
        long time = event.time == Event.NO_TIME ? inputMs : Math.min(event.time, inputMs);
        Facts facts = Facts.of(time, inputMs, event.view, event.url);
        return new Enriched(visitor, member.spliced(json, lastBrace(json)), facts);
    }

    private static int lastBrace(byte[] json) {
        int at = json.length - 1;
        while (json[at] != '}') {
            at--;
        }
        return at;
    }

    private Bytes visitor(Bytes key) {
        if (event.visitor != null) {
            return Bytes.wrap(event.visitor.getBytes(StandardCharsets.UTF_8));
        }
        if (event.user != null) {
            return Bytes.wrap(("user:" + event.user).getBytes(StandardCharsets.UTF_8));
        }
        if (key != null) {
            return key;
        }
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            byte[] hash = digest.digest((event.ip + "\n" + event.agent).getBytes(StandardCharsets.UTF_8));
            return Bytes.wrap(HexFormat.of().formatHex(hash, 0, 16).getBytes(StandardCharsets.US_ASCII));
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }

    /** The time as JSON, written anew when it has changed. */
    private byte[] now() {
        long ms = System.currentTimeMillis();
        if (ms != nowMs || nowJson == null) {
            nowMs = ms;
            now.clear();
            Time.write(ms, now);
            nowJson = now.toArray();
        }
        return nowJson;
    }

    /** What sessions need of an event, so that nobody reads its JSON again: the header {@link #HEADER} of `enriched`. */
    record Facts(long time, long inputMs, boolean view, byte[] page) {
        static final String HEADER = "facts";

        /** Longer pages are cut, in bytes: as in Ouzel an update is slim whatever the page. */
        private static final int PAGE_MAX = 200;

        private static final byte[] NO_PAGE = {};

        static Facts of(long time, long inputMs, boolean view, String url) {
            byte[] page = url == null ? NO_PAGE : url.getBytes(StandardCharsets.UTF_8);
            if (page.length > PAGE_MAX) {
                int end = PAGE_MAX;
                while ((page[end] & 0xc0) == 0x80) {
                    end--;
                }
                page = java.util.Arrays.copyOf(page, end);
            }
            return new Facts(time, inputMs, view, page);
        }

        byte[] encode() {
            ByteBuffer out = ByteBuffer.allocate(17 + page.length);
            return out.putLong(time).putLong(inputMs).put((byte) (view ? 1 : 0)).put(page).array();
        }

        static Facts decode(byte[] bytes) {
            ByteBuffer in = ByteBuffer.wrap(bytes);
            long time = in.getLong();
            long inputMs = in.getLong();
            boolean view = in.get() == 1;
            byte[] page = new byte[in.remaining()];
            in.get(page);
            return new Facts(time, inputMs, view, page);
        }
    }
}
