package ouzel.peer;

import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import com.maxmind.db.CHMCache;
import com.maxmind.db.MaxMindDbConstructor;
import com.maxmind.db.MaxMindDbParameter;
import com.maxmind.db.Reader;
import java.io.File;
import java.io.IOException;
import java.net.InetAddress;
import java.util.List;
import java.util.Map;

/**
 * Where an address is, as the JSON that is written. The record is decoded into what is needed; MaxMind's shape and the
 * flat one of DB-IP are known. (The reader finds public constructors only.)
 */
final class Geo {
    /** As many addresses as a shop sees in an hour; an entry is some 300 bytes. */
    private static final int CACHE_MAX = 100_000;

    /** No database knows the address. */
    static final byte[] MISS = {};

    private final Reader reader;
    private final Cache<String, byte[]> cache = Caffeine.newBuilder().maximumSize(CACHE_MAX).build();

    Geo(File database) throws IOException {
        reader = new Reader(database, Reader.FileMode.MEMORY, new CHMCache(16_384));
    }

    /** {@link #MISS} where it is not known, or is no address. */
    byte[] of(String ip) {
        byte[] json = cache.getIfPresent(ip);
        if (json == null) {
            json = find(ip);
            cache.put(ip, json);
        }
        return json;
    }

    private byte[] find(String ip) {
        // What is no address would be asked of a name server.
        if (!isAddress(ip)) {
            return MISS;
        }
        try {
            Place place = reader.get(InetAddress.getByName(ip), Place.class);
            return place == null ? MISS : place.json();
        } catch (IOException e) {
            return MISS;
        }
    }

    private static boolean isAddress(String text) {
        boolean v6 = text.indexOf(':') >= 0;
        return text.length() <= 45
                && text.chars().allMatch(c -> c == '.' || c >= '0' && c <= '9'
                        || v6 && (c == ':' || Character.digit(c, 16) >= 0));
    }

    public record Named(String en) {
        @MaxMindDbConstructor
        public Named(@MaxMindDbParameter(name = "en") String en) {
            this.en = en;
        }
    }

    public record Country(String code) {
        @MaxMindDbConstructor
        public Country(@MaxMindDbParameter(name = "iso_code") String code) {
            this.code = code;
        }
    }

    public record Subdivision(Named names) {
        @MaxMindDbConstructor
        public Subdivision(@MaxMindDbParameter(name = "names") Named names) {
            this.names = names;
        }
    }

    public record Postal(String code) {
        @MaxMindDbConstructor
        public Postal(@MaxMindDbParameter(name = "code") String code) {
            this.code = code;
        }
    }

    public record Location(Object latitude, Object longitude, String zone) {
        @MaxMindDbConstructor
        public Location(
                @MaxMindDbParameter(name = "latitude") Object latitude,
                @MaxMindDbParameter(name = "longitude") Object longitude,
                @MaxMindDbParameter(name = "time_zone") String zone) {
            this.latitude = latitude;
            this.longitude = longitude;
            this.zone = zone;
        }
    }

    public record Place(String country, String region, String city, String postal, Object lat, Object lon, String zone) {
        /** A record has the members of one shape; `city` is a map in one and a text in the other. */
        @MaxMindDbConstructor
        public Place(
                @MaxMindDbParameter(name = "country") Country country,
                @MaxMindDbParameter(name = "subdivisions") List<Subdivision> subdivisions,
                @MaxMindDbParameter(name = "city") Object city,
                @MaxMindDbParameter(name = "postal") Postal postal,
                @MaxMindDbParameter(name = "location") Location location,
                @MaxMindDbParameter(name = "country_code") String flatCountry,
                @MaxMindDbParameter(name = "state1") String flatRegion,
                @MaxMindDbParameter(name = "postcode") String flatPostal,
                @MaxMindDbParameter(name = "latitude") Object flatLat,
                @MaxMindDbParameter(name = "longitude") Object flatLon,
                @MaxMindDbParameter(name = "timezone") String flatZone) {
            this(
                    country != null ? country.code : flatCountry,
                    subdivisions != null && !subdivisions.isEmpty() && subdivisions.get(0).names != null
                            ? subdivisions.get(0).names.en
                            : flatRegion,
                    name(city),
                    postal != null ? postal.code : flatPostal,
                    location != null ? location.latitude : flatLat,
                    location != null ? location.longitude : flatLon,
                    location != null ? location.zone : flatZone);
        }

        private static String name(Object city) {
            if (city instanceof Map<?, ?> map && map.get("names") instanceof Map<?, ?> names) {
                return names.get("en") instanceof String name ? name : null;
            }
            return city instanceof String name ? name : null;
        }

        byte[] json() {
            Buffer out = new Buffer();
            text("country", country, out);
            text("region", region, out);
            text("city", city, out);
            text("postal", postal, out);
            number("lat", lat, out);
            number("lon", lon, out);
            text("tz", zone, out);
            return out.length() == 0 ? MISS : out.put('}').toArray();
        }

        private static void text(String name, String value, Buffer out) {
            if (value != null && !value.isEmpty()) {
                out.name(name, 0).string(value);
            }
        }

        private static void number(String name, Object value, Buffer out) {
            if (value instanceof Float || value instanceof Double) {
                String text = value.toString();
                out.name(name, 0).put(text);
            }
        }
    }
}
