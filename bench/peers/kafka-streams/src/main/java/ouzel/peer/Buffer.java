package ouzel.peer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Bytes of JSON that are written one after another, in memory that is used again. */
final class Buffer {
    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);

    private byte[] bytes = new byte[2048];
    private int length;

    void clear() {
        length = 0;
    }

    int length() {
        return length;
    }

    byte[] toArray() {
        return Arrays.copyOf(bytes, length);
    }

    /** `before[..at]`, what is in here, `before[at..]`. */
    byte[] spliced(byte[] before, int at) {
        byte[] all = new byte[before.length + length];
        System.arraycopy(before, 0, all, 0, at);
        System.arraycopy(bytes, 0, all, at, length);
        System.arraycopy(before, at, all, at + length, before.length - at);
        return all;
    }

    Buffer put(byte[] more) {
        room(more.length);
        System.arraycopy(more, 0, bytes, length, more.length);
        length += more.length;
        return this;
    }

    Buffer put(char ascii) {
        room(1);
        bytes[length++] = (byte) ascii;
        return this;
    }

    /** A text of ASCII characters, as it is. */
    @SuppressWarnings("deprecation")
    Buffer put(String ascii) {
        int n = ascii.length();
        room(n);
        ascii.getBytes(0, n, bytes, length);
        length += n;
        return this;
    }

    /** A part of such a text. */
    @SuppressWarnings("deprecation")
    Buffer put(String ascii, int from, int to) {
        room(to - from);
        ascii.getBytes(from, to, bytes, length);
        length += to - from;
        return this;
    }

    Buffer put(long number) {
        return put(Long.toString(number));
    }

    /** A member's name in an object that begins at `start`, with the brace or comma it needs. */
    Buffer name(String ascii, int start) {
        return put(length == start ? '{' : ',').put('"').put(ascii).put("\":");
    }

    Buffer string(String text) {
        return string(text.getBytes(StandardCharsets.UTF_8));
    }

    /** UTF-8 as a JSON string. */
    Buffer string(byte[] utf8) {
        room(2 + 6 * utf8.length);
        bytes[length++] = '"';
        for (byte b : utf8) {
            if (b == '"' || b == '\\') {
                bytes[length++] = '\\';
                bytes[length++] = b;
            } else if (b >= 0 && b < 0x20) {
                put("\\u00").put((char) HEX[b >> 4]).put((char) HEX[b & 15]);
            } else {
                bytes[length++] = b;
            }
        }
        bytes[length++] = '"';
        return this;
    }

    private void room(int more) {
        if (length + more > bytes.length) {
            bytes = Arrays.copyOf(bytes, Math.max(2 * bytes.length, length + more));
        }
    }
}
