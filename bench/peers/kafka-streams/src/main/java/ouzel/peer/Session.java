package ouzel.peer;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.kstream.Windowed;

/** A session as far as it is known; its start and end are its window's. Values are never changed. */
record Session(int events, int views, long landingAt, byte[] landing, long lastAt, byte[] last, long inputMs) {
    private static final byte[] NO_PAGE = {};

    static final Session NONE = new Session(0, 0, Long.MAX_VALUE, NO_PAGE, Long.MIN_VALUE, NO_PAGE, Long.MIN_VALUE);

    Session with(Enrichment.Facts event) {
        boolean hasPage = event.page().length > 0;
        boolean isFirst = hasPage && event.time() < landingAt;
        boolean isLast = hasPage && event.time() >= lastAt;
        return new Session(
                events + 1,
                views + (event.view() ? 1 : 0),
                isFirst ? event.time() : landingAt,
                isFirst ? event.page() : landing,
                isLast ? event.time() : lastAt,
                isLast ? event.page() : last,
                Math.max(inputMs, event.inputMs()));
    }

    /** Of two that an event between them made one. */
    Session with(Session other) {
        Session first = other.landingAt < landingAt ? other : this;
        Session later = other.lastAt > lastAt ? other : this;
        return new Session(
                events + other.events,
                views + other.views,
                first.landingAt,
                first.landing,
                later.lastAt,
                later.last,
                Math.max(inputMs, other.inputMs));
    }

    /** `{"v":1,"kind":"update",...}`. */
    static byte[] update(Windowed<Bytes> key, Session session, Buffer out) {
        out.clear();
        long start = key.window().start();
        out.put("{\"v\":1,\"kind\":\"update\",\"session_id\":\"").put(id(key.key().get(), start));
        out.put("\",\"visitor\":").string(key.key().get());
        out.put(",\"revision\":0,\"start\":");
        Time.write(start, out);
        out.put(",\"end\":");
        Time.write(key.window().end(), out);
        out.put(",\"events\":").put(session.events).put(",\"views\":").put(session.views);
        if (session.landing.length > 0) {
            out.put(",\"landing_page\":").string(session.landing);
            out.put(",\"last_page\":").string(session.last);
        }
        return out.put('}').toArray();
    }

    /** The same for the same visitor and start. */
    private static String id(byte[] visitor, long start) {
        long hash = 0xcbf29ce484222325L ^ start;
        for (byte b : visitor) {
            hash = (hash ^ b) * 0x100000001b3L;
        }
        return hex(hash ^ hash >>> 29) + hex(start);
    }

    private static String hex(long number) {
        char[] digits = new char[16];
        for (int n = 0; n < 16; n++) {
            digits[n] = Character.forDigit((int) (number >>> 60 - 4 * n) & 15, 16);
        }
        return new String(digits);
    }

    /** As the state store and its changelog keep them. */
    static final Serde<Session> SERDE = Serdes.serdeFrom(serializer(), deserializer());

    private static Serializer<Session> serializer() {
        return (topic, s) -> {
            if (s == null) {
                return null;
            }
            ByteBuffer out = ByteBuffer.allocate(36 + s.landing.length + s.last.length);
            out.putInt(s.events).putInt(s.views).putLong(s.landingAt).putLong(s.lastAt).putLong(s.inputMs);
            out.putShort((short) s.landing.length).putShort((short) s.last.length);
            return out.put(s.landing).put(s.last).array();
        };
    }

    private static Deserializer<Session> deserializer() {
        return (topic, bytes) -> {
            if (bytes == null) {
                return null;
            }
            ByteBuffer in = ByteBuffer.wrap(bytes);
            int events = in.getInt();
            int views = in.getInt();
            long landingAt = in.getLong();
            long lastAt = in.getLong();
            long inputMs = in.getLong();
            byte[] landing = new byte[in.getShort()];
            byte[] last = new byte[in.getShort()];
            in.get(landing).get(last);
            return new Session(events, views, landingAt, landing, lastAt, last, inputMs);
        };
    }

    @Override
    public String toString() {
        String page = new String(last, StandardCharsets.UTF_8);
        return "Session[" + events + " events, " + views + " views, last " + page + "]";
    }
}
