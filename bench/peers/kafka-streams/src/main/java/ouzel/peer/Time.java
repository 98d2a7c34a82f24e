package ouzel.peer;

import java.time.DateTimeException;
import java.time.Instant;
import java.time.LocalDate;
import java.time.OffsetDateTime;

/** Times as RFC 3339, and as milliseconds since 1970. */
final class Time {
    private Time() {}

    /** Throws a DateTimeException for what is no time, or has no zone. */
    static long parse(String text) {
        if (text.length() < 20 || text.charAt(text.length() - 1) != 'Z' || !isPlain(text)) {
            return OffsetDateTime.parse(text).toInstant().toEpochMilli();
        }
        int hour = digits(text, 11, 2);
        int minute = digits(text, 14, 2);
        int second = digits(text, 17, 2);
        if (hour > 23 || minute > 59 || second > 59) {
            throw new DateTimeException("no time: " + text);
        }
        long days = LocalDate.of(digits(text, 0, 4), digits(text, 5, 2), digits(text, 8, 2)).toEpochDay();
        int milli = 0;
        for (int n = 20; n < 23; n++) {
            milli = 10 * milli + (n < text.length() - 1 ? text.charAt(n) - '0' : 0);
        }
        return ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000L + milli;
    }

    static void write(long milli, Buffer out) {
        Instant at = Instant.ofEpochMilli(milli);
        String text = at.toString();
        // `Instant` leaves out a fraction that is zero.
        out.put('"').put(text, 0, 19).put(text.length() > 20 ? text.substring(19, 23) : ".000").put("000Z\"");
    }

    /** `2026-11-22T12:00:00Z`, with any fraction. */
    private static boolean isPlain(String text) {
        for (int n = 0; n < text.length() - 1; n++) {
            char c = text.charAt(n);
            boolean fits = switch (n) {
                case 4, 7 -> c == '-';
                case 10 -> c == 'T';
                case 13, 16 -> c == ':';
                case 19 -> c == '.' && text.length() > 21;
                default -> c >= '0' && c <= '9';
            };
            if (!fits) {
                return false;
            }
        }
        return true;
    }

    private static int digits(String text, int from, int count) {
        int number = 0;
        for (int n = from; n < from + count; n++) {
            number = 10 * number + text.charAt(n) - '0';
        }
        return number;
    }
}
