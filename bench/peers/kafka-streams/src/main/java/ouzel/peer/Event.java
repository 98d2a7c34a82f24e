package ouzel.peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.time.DateTimeException;

/**
 * What enrichment and sessions need of an event, read in one pass over its bytes: the whole text is checked to be JSON,
 * and only these members become objects. A reader is used again for the next event.
 */
final class Event {
    private static final JsonFactory JSON = JsonFactory.builder()
            // Names of members are bounded by the events' makers, not by us.
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
            .build();

    /** Null where the event does not say it; all texts are without escapes. */
    String visitor;
    String user;
    String ip;
    String agent;
    String url;
    /** Of the event's own campaign, in the order of {@link Campaign#MEMBERS}. */
    final String[] campaign = new String[Campaign.MEMBERS.size()];
    boolean hasCampaign;
    /** A page was seen. */
    boolean view;
    /** Milliseconds; {@link #NO_TIME} where the event does not say it. */
    long time;

    static final long NO_TIME = Long.MIN_VALUE;

    private boolean hasType;

    /** False for what Ouzel refuses: no JSON object, no type, no time, a member `enriched`. */
    boolean read(byte[] json) {
        clear();
        try (JsonParser parser = JSON.createParser(json)) {
            if (parser.nextToken() != JsonToken.START_OBJECT || !readFirstLevel(parser)) {
                return false;
            }
            return parser.nextToken() == null && hasType;
        } catch (IOException | DateTimeException e) {
            return false;
        }
    }

    private void clear() {
        visitor = null;
        user = null;
        ip = null;
        agent = null;
        url = null;
        if (hasCampaign) {
            java.util.Arrays.fill(campaign, null);
            hasCampaign = false;
        }
        view = false;
        time = NO_TIME;
        hasType = false;
    }

    private boolean readFirstLevel(JsonParser parser) throws IOException {
        for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
            JsonToken token = parser.nextToken();
            switch (name) {
                case "anonymousId" -> visitor = text(parser, token);
                case "userId" -> user = text(parser, token);
                case "timestamp" -> {
                    String text = text(parser, token);
                    time = text == null ? NO_TIME : Time.parse(text);
                }
                case "type" -> {
                    String type = text(parser, token);
                    hasType |= type != null;
                    view = "page".equals(type) || "screen".equals(type);
                }
                case "event" -> hasType |= text(parser, token) != null;
                case "context" -> {
                    if (token == JsonToken.START_OBJECT) {
                        readContext(parser);
                    }
                }
                case "enriched" -> {
                    return false;
                }
                default -> parser.skipChildren();
            }
        }
        return true;
    }

    private void readContext(JsonParser parser) throws IOException {
        for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
            JsonToken token = parser.nextToken();
            switch (name) {
                case "ip" -> ip = text(parser, token);
                case "userAgent" -> agent = text(parser, token);
                case "page" -> {
                    if (token == JsonToken.START_OBJECT) {
                        readPage(parser);
                    }
                }
                case "campaign" -> readCampaign(parser, token);
                default -> parser.skipChildren();
            }
        }
    }

    private void readPage(JsonParser parser) throws IOException {
        for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
            JsonToken token = parser.nextToken();
            if (name.equals("url")) {
                url = text(parser, token);
            } else {
                parser.skipChildren();
            }
        }
    }

    /** An object of members, or a text, which is the name. */
    private void readCampaign(JsonParser parser, JsonToken token) throws IOException {
        hasCampaign = true;
        if (token != JsonToken.START_OBJECT) {
            campaign[Campaign.MEMBERS.indexOf("name")] = text(parser, token);
            return;
        }
        for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
            int member = Campaign.MEMBERS.indexOf(name);
            token = parser.nextToken();
            if (member >= 0) {
                campaign[member] = text(parser, token);
            } else {
                parser.skipChildren();
            }
        }
    }

    /** Of a text that is not empty, or of a number; else null, and whatever is there is passed over. */
    private static String text(JsonParser parser, JsonToken token) throws IOException {
        if (token == JsonToken.VALUE_STRING || token.isNumeric()) {
            String text = parser.getText();
            return text.isEmpty() ? null : text;
        }
        parser.skipChildren();
        return null;
    }
}
