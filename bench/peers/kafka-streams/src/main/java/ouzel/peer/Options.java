package ouzel.peer;

import java.io.File;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;

/** What the command line says: `--name value` pairs. */
record Options(
        String bootstrap,
        String raw,
        String enriched,
        String sessions,
        File geo,
        File agents,
        int commitMs,
        int threads,
        File stateDir,
        String applicationId,
        SessionsFrom sessionsFrom,
        String compression) {

    /** Where sessions are read from. */
    enum SessionsFrom {
        /** From `enriched`, which is keyed by visitor whatever `raw` is keyed by; as Ouzel does. */
        ENRICHED,
        /** Behind the enrichment in the same task, a hop less: where `raw` is keyed by visitor already. */
        RAW
    }

    private static final Set<String> NAMES = Set.of(
            "bootstrap", "raw", "enriched", "sessions", "geo", "agents", "commit-ms", "threads", "state-dir",
            "application-id", "sessions-from", "compression");

    /** Throws an IllegalArgumentException that says which option is wrong. */
    static Options parse(String[] args) {
        Map<String, String> given = new HashMap<>();
        for (int n = 0; n < args.length; n += 2) {
            String name = args[n].startsWith("--") ? args[n].substring(2) : "";
            if (!NAMES.contains(name)) {
                throw new IllegalArgumentException("there is no option `" + args[n] + "`; there are --"
                        + String.join(", --", NAMES.stream().sorted().toList()));
            }
            if (n + 1 == args.length) {
                throw new IllegalArgumentException(args[n] + " takes a value");
            }
            given.put(name, args[n + 1]);
        }
        return new Options(
                given.getOrDefault("bootstrap", "127.0.0.1:9092"),
                given.getOrDefault("raw", "raw"),
                given.getOrDefault("enriched", "enriched"),
                given.getOrDefault("sessions", "sessions"),
                file(given, "geo"),
                file(given, "agents"),
                number(given, "commit-ms", 100),
                number(given, "threads", 2),
                new File(needed(given, "state-dir")),
                given.getOrDefault("application-id", "ouzel-peer"),
                from(given.getOrDefault("sessions-from", "enriched")),
                given.getOrDefault("compression", "none"));
    }

    private static String needed(Map<String, String> given, String name) {
        String value = given.get(name);
        if (value == null) {
            throw new IllegalArgumentException("--" + name + " is needed");
        }
        return value;
    }

    private static File file(Map<String, String> given, String name) {
        File file = new File(needed(given, name));
        if (!file.isFile()) {
            throw new IllegalArgumentException("--" + name + ": there is no file " + file);
        }
        return file;
    }

    private static int number(Map<String, String> given, String name, int otherwise) {
        String text = given.getOrDefault(name, Integer.toString(otherwise));
        try {
            int number = Integer.parseInt(text);
            if (number > 0) {
                return number;
            }
        } catch (NumberFormatException e) {
            // Said below.
        }
        throw new IllegalArgumentException("--" + name + " takes a number from 1, not `" + text + "`");
    }

    private static SessionsFrom from(String text) {
        return switch (text) {
            case "enriched" -> SessionsFrom.ENRICHED;
            case "raw" -> SessionsFrom.RAW;
            default -> throw new IllegalArgumentException("--sessions-from takes `enriched` or `raw`, not `" + text + "`");
        };
    }
}
