package ouzel.peer;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/** Which campaign brought a visit: parameters of the page's URL, then what the event itself says. Ouzel's built-in list. */
final class Campaign {
    static final List<String> MEMBERS = List.of("source", "medium", "name", "term", "content");

    /** A parameter: the place of its member in {@link #MEMBERS}, and how many of that member's come before it. */
    private record Gives(int member, int rank) {}

    private static final int CLICK = MEMBERS.size();

    private static final List<String[]> CLICK_IDS = List.of(
            new String[] {"gclid", "Google"},
            new String[] {"wbraid", "Google"},
            new String[] {"gbraid", "Google"},
            new String[] {"dclid", "DoubleClick"},
            new String[] {"msclkid", "Microsoft"},
            new String[] {"fbclid", "Facebook"},
            new String[] {"ttclid", "TikTok"},
            new String[] {"twclid", "X"},
            new String[] {"li_fat_id", "LinkedIn"},
            new String[] {"yclid", "Yandex"},
            new String[] {"epik", "Pinterest"},
            new String[] {"rdt_cid", "Reddit"},
            new String[] {"ScCid", "Snapchat"});

    private static final Map<String, Gives> PARAMETERS = parameters();

    private final String[] found = new String[MEMBERS.size() + 1];
    private final int[] ranks = new int[MEMBERS.size() + 1];

    private static Map<String, Gives> parameters() {
        Map<String, Gives> parameters = new java.util.HashMap<>();
        for (int n = 0; n < MEMBERS.size(); n++) {
            String name = MEMBERS.get(n).equals("name") ? "campaign" : MEMBERS.get(n);
            parameters.put("utm_" + name, new Gives(n, 0));
            parameters.put("mkt_" + name, new Gives(n, 1));
        }
        for (int n = 0; n < CLICK_IDS.size(); n++) {
            parameters.put(CLICK_IDS.get(n)[0], new Gives(CLICK, n));
        }
        return parameters;
    }

    /** Appends `,"campaign":{...}`, or nothing where none is told. */
    void write(Event event, Buffer out) {
        int query = event.url == null ? -1 : event.url.indexOf('?');
        if (query < 0 && !event.hasCampaign) {
            return;
        }
        java.util.Arrays.fill(found, null);
        java.util.Arrays.fill(ranks, Integer.MAX_VALUE);
        if (query >= 0) {
            read(event.url, query + 1);
        }
        boolean any = found[CLICK] != null;
        for (int n = 0; n < CLICK; n++) {
            if (found[n] == null && event.hasCampaign) {
                found[n] = event.campaign[n];
            }
            any |= found[n] != null;
        }
        if (!any) {
            return;
        }
        out.put(",\"campaign\":");
        int start = out.length();
        for (int n = 0; n < CLICK; n++) {
            if (found[n] != null) {
                out.name(MEMBERS.get(n), start).string(found[n]);
            }
        }
        if (found[CLICK] != null) {
            String[] click = CLICK_IDS.get(ranks[CLICK]);
            out.name("network", start).string(click[1]).name("click_id", start);
            out.put("{\"").put(click[0]).put("\":").string(found[CLICK]).put('}');
        }
        out.put('}');
    }

    private void read(String url, int from) {
        int fragment = url.indexOf('#');
        int end = fragment < 0 ? url.length() : fragment;
        while (from < end) {
            int next = url.indexOf('&', from);
            if (next < 0 || next > end) {
                next = end;
            }
            int equals = url.indexOf('=', from);
            if (equals >= 0 && equals < next - 1) {
                Gives gives = PARAMETERS.get(decoded(url.substring(from, equals)));
                if (gives != null && gives.rank < ranks[gives.member]) {
                    ranks[gives.member] = gives.rank;
                    found[gives.member] = decoded(url.substring(equals + 1, next));
                }
            }
            from = next + 1;
        }
    }

    /** `+` is a space, `%41` an `A`; what is no escape stays as it is, what is not UTF-8 becomes U+FFFD. */
    static String decoded(String text) {
        if (text.indexOf('+') < 0 && text.indexOf('%') < 0) {
            return text;
        }
        byte[] raw = text.getBytes(StandardCharsets.UTF_8);
        int length = 0;
        for (int n = 0; n < raw.length; n++) {
            int high = n + 2 < raw.length ? Character.digit(raw[n + 1], 16) : -1;
            int low = n + 2 < raw.length ? Character.digit(raw[n + 2], 16) : -1;
            if (raw[n] == '%' && high >= 0 && low >= 0) {
                raw[length++] = (byte) (high << 4 | low);
                n += 2;
            } else {
                raw[length++] = raw[n] == '+' ? (byte) ' ' : raw[n];
            }
        }
        return new String(raw, 0, length, StandardCharsets.UTF_8);
    }
}
