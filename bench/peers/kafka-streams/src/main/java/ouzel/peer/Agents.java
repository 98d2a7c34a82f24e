package ouzel.peer;

import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import java.io.BufferedInputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Locale;
import java.util.regex.Pattern;
import ua_parser.OS;
import ua_parser.Parser;
import ua_parser.UserAgent;

/** What an agent string says of a device, as the JSON that is written: browser and system by uap-core's rules. */
final class Agents {
    /** Many times what a shop sees in an hour; an entry is some 400 bytes. */
    private static final int CACHE_MAX = 50_000;

    /** Longer agents are judged by so many characters. */
    private static final int LENGTH_MAX = 1024;

    private static final Pattern TV = Pattern.compile("tv\\b|appletv|smarttv|crkey|roku|bravia|web0s|hbbtv|\\baft[a-z]");
    private static final Pattern ODD = Pattern.compile("playstation|nintendo|xbox|watch|oculus|tesla/");
    private static final Pattern TABLET = Pattern.compile("ipad|tablet(?! ?pc)|kindle|silk-accelerated|\\bsm-[tpx]\\d");
    private static final Pattern PHONE =
            Pattern.compile("iphone|ipod|windows phone|blackberry|bb10|symbian|midp|opera mini|\\bmobi|kaios");
    private static final Pattern DESKTOP =
            Pattern.compile("windows|macintosh|mac os x|macos|x11|linux|cros|freebsd|openbsd|netbsd");

    private final Parser parser;
    private final Cache<String, byte[]> cache = Caffeine.newBuilder().maximumSize(CACHE_MAX).build();

    Agents(File rules) throws IOException {
        try (InputStream in = new BufferedInputStream(new FileInputStream(rules))) {
            parser = new Parser(in);
        }
    }

    byte[] of(String agent) {
        byte[] json = cache.getIfPresent(agent);
        if (json == null) {
            json = find(agent.length() <= LENGTH_MAX ? agent : agent.substring(0, LENGTH_MAX));
            cache.put(agent, json);
        }
        return json;
    }

    /** Not `parse`, which goes through the rules of models too, the most and slowest of them. */
    private byte[] find(String agent) {
        UserAgent browser = parser.parseUserAgent(agent);
        OS system = parser.parseOS(agent);
        Buffer out = new Buffer();
        out.name("kind", 0).string(kind(agent));
        out.name("browser", 0).string(browser.family);
        version("browser_version", out, browser.major, browser.minor, browser.patch);
        out.name("os", 0).string(system.family);
        version("os_version", out, system.major, system.minor, system.patch, system.patchMinor);
        return out.put('}').toArray();
    }

    /** The parts that are there, joined by dots. */
    private static void version(String name, Buffer out, String... parts) {
        StringBuilder text = new StringBuilder();
        for (String part : parts) {
            if (part == null || part.isEmpty()) {
                break;
            }
            text.append(text.isEmpty() ? "" : ".").append(part);
        }
        if (!text.isEmpty()) {
            out.name(name, 0).string(text.toString());
        }
    }

    /** By a short list of words. Ouzel's is longer, and tells bots too. */
    static String kind(String agent) {
        String lower = agent.toLowerCase(Locale.ROOT);
        if (TV.matcher(lower).find()) {
            return "tv";
        }
        if (ODD.matcher(lower).find()) {
            return "other";
        }
        if (TABLET.matcher(lower).find()) {
            return "tablet";
        }
        boolean phone = PHONE.matcher(lower).find();
        if (lower.contains("android")) {
            return phone || !lower.startsWith("mozilla/") ? "mobile" : "tablet";
        }
        if (phone) {
            return "mobile";
        }
        return DESKTOP.matcher(lower).find() ? "desktop" : "other";
    }
}
