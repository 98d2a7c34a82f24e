"""Makes the files of this folder: pip install pyarrow==26.0.1; python make.py

Beside each file lies what its rows are, a line each: the key, a tab, the row as JSON, from the values that went in.
"""

import base64, datetime as dt, decimal, json, os, random, uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

D = decimal.Decimal
UTC = dt.timezone.utc
decimal.getcontext().prec = 80


class Raw(str):
    """JSON as it is to be written."""


def moment(value, digits, end):
    """Of an integer count since 1970."""
    seconds, fraction = divmod(value, 10**digits)
    day = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)
    return f"{day:%Y-%m-%dT%H:%M:%S}.{fraction:0{digits}d}{end}"


def written(value):
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, D):
        return format(value, "f")
    if isinstance(value, bytes):
        return f'"{value.hex()}"'
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def save(name, columns, rows, expected=None, **options):
    """`columns`: name and type; `rows`: lists of values; `expected`: the same as they are in JSON."""
    schema = pa.schema(columns)
    arrays = [pa.array([row[n] for row in rows], type=type) for n, (_, type) in enumerate(columns)]
    pq.write_table(pa.table(arrays, schema=schema), name + ".parquet", **options)
    with open(name + ".tsv", "w") as out:
        for row in expected or rows:
            key = row[0] if isinstance(row[0], str) else written(row[0])
            out.write(f"{key}\t{written(dict(zip(schema.names, row)))}\n")


# Every type that is no group, its extremes, and nulls.
columns = [
    ("key", pa.string()), ("bool", pa.bool_()),
    ("i8", pa.int8()), ("i16", pa.int16()), ("i32", pa.int32()), ("i64", pa.int64()),
    ("u8", pa.uint8()), ("u16", pa.uint16()), ("u32", pa.uint32()), ("u64", pa.uint64()),
    ("f16", pa.float16()), ("f32", pa.float32()), ("f64", pa.float64()),
    ("d9", pa.decimal128(9, 2)), ("d18", pa.decimal128(18, 0)), ("d38", pa.decimal128(38, 10)), ("d76", pa.decimal256(76, 40)),
    ("text", pa.string()), ("large", pa.large_string()), ("view", pa.dictionary(pa.int8(), pa.string())),
    ("bytes", pa.binary()), ("fixed", pa.binary(3)), ("uuid", pa.uuid()), ("json", pa.json_()),
    ("date", pa.date32()), ("t_ms", pa.time32("ms")), ("t_us", pa.time64("us")), ("t_ns", pa.time64("ns")),
    ("ms", pa.timestamp("ms")), ("us", pa.timestamp("us")), ("ns", pa.timestamp("ns")),
    ("ms_utc", pa.timestamp("ms", "UTC")), ("us_utc", pa.timestamp("us", "Europe/Zurich")), ("ns_utc", pa.timestamp("ns", "UTC")),
    ("none", pa.null()),
]
u = uuid.UUID("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0")
day, t = dt.date(2026, 2, 28), 1_772_323_199
full = lambda sign: [
    "ümlaut \"quoted\"\\" if sign > 0 else "least", sign > 0,
    127 if sign > 0 else -128, 2**15 - 1 if sign > 0 else -2**15, 2**31 - 1 if sign > 0 else -2**31, 2**63 - 1 if sign > 0 else -2**63,
    2**8 - 1, 2**16 - 1, 2**32 - 1, 2**64 - 1,
    0.5 * sign, 0.25 * sign, 0.1 * sign,
    D("1234567.89") * sign, D(10**18 - 1) * sign, D("1234567890123456789012345678.0123456789") * sign,
    (D(10**76 - 1) / D(10**40)) * sign,
    "東京", "\u0000\u001f\u007f", "one of few",
    b"\x00\xff", b"abc", u.bytes, '{"a": [1, null]}',
    day, 86_399_999, 1, 86_399_999_999_999,
    t * 1000 + 7, t * 10**6 + 7, t * 10**9 + 7, -t * 1000 + 7, -t * 10**6 + 7, -t * 10**9 + 7,
    None,
]
def as_json(row):
    row = list(row)
    at = {name: n for n, (name, _) in enumerate(columns)}
    row[at["uuid"]] = str(u)
    row[at["json"]] = Raw(row[at["json"]])
    row[at["date"]] = day.isoformat()
    row[at["t_ms"]], row[at["t_us"]], row[at["t_ns"]] = "23:59:59.999", "00:00:00.000001", "23:59:59.999999999"
    for name, digits in (("ms", 3), ("us", 6), ("ns", 9)):
        row[at[name]] = moment(row[at[name]], digits, "")
        row[at[name + "_utc"]] = moment(row[at[name + "_utc"]], digits, "Z")
    return row
nulls = ["nulls"] + [None] * (len(columns) - 1)
zeros = full(1)
zeros[:17] = ["zero", False] + [0] * 8 + [0.0] * 3 + [D("0.00"), D(0), D("0." + "0" * 10), D("0." + "0" * 40)]
rows = [full(1), full(-1), nulls, zeros]
save("types", columns, rows, [nulls if row is nulls else as_json(row) for row in rows], write_page_checksum=True)

# Groups, in small pages and row groups, so that rows begin and end anywhere.
random.seed(1)
maybe = lambda make: None if random.random() < 0.2 else make()
some = lambda make: [make() for _ in range(random.choice([0, 1, 1, 2, 5]))]
word = lambda: random.choice(["a", "", "longer than others", "é"])
point = pa.struct([("x", pa.int32()), ("tags", pa.list_(pa.string()))])
groups = [
    pa.field("id", pa.int64(), nullable=False),
    ("list", pa.list_(pa.int32())), ("lists", pa.list_(pa.list_(pa.int16()))),
    ("struct", pa.struct([("a", pa.int32()), ("b", pa.struct([("c", pa.string())]))])),
    ("points", pa.list_(point)), ("map", pa.map_(pa.string(), pa.int64())), ("by_number", pa.map_(pa.int32(), point)),
    pa.field("required", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False),
    ("flat", pa.string()),
]
number = lambda: random.randint(-9, 9)
make_point = lambda: {"x": maybe(number), "tags": maybe(lambda: some(word))}
def group(n):
    return [
        n, maybe(lambda: some(lambda: maybe(number))), maybe(lambda: some(lambda: maybe(lambda: some(number)))),
        maybe(lambda: {"a": maybe(number), "b": maybe(lambda: {"c": maybe(word)})}),
        maybe(lambda: some(lambda: maybe(make_point))),
        maybe(lambda: {k: maybe(number) for k in some(word)}), maybe(lambda: {k: maybe(make_point) for k in some(number)}),
        some(number), maybe(word),
    ]
rows = [group(n) for n in range(100)]
stored = [[list(v.items()) if isinstance(v, dict) and n in (5, 6) else v for n, v in enumerate(row)] for row in rows]
text_keys = [[{str(k): x for k, x in v.items()} if isinstance(v, dict) and n == 6 else v for n, v in enumerate(row)] for row in rows]
groups = [f if isinstance(f, pa.Field) else pa.field(*f) for f in groups]
for name, options in (
    ("groups_v1", dict(compression="zstd", data_page_version="1.0")),
    ("groups_v2", dict(compression="snappy", data_page_version="2.0", use_dictionary=False)),
    ("groups_old", dict(compression="gzip", version="1.0", use_compliant_nested_type=False)),
):
    arrays = [pa.array([row[n] for row in stored], type=f.type) for n, f in enumerate(groups)]
    pq.write_table(pa.table(arrays, schema=pa.schema(groups)), name + ".parquet", row_group_size=45, data_page_size=100, write_batch_size=9, store_schema=False, **options)
with open("groups.tsv", "w") as out:
    names = [f.name for f in groups]
    for row in text_keys:
        out.write(f"{row[0]}\t{written(dict(zip(names, row)))}\n")

# Codecs and encodings.
plain = [("user", pa.int64()), ("plan", pa.string()), ("score", pa.float64())]
rows = [[n * 7, random.choice(["free", "pro", "team"]), n / 4] for n in range(200)]
for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
    save("users", plain, rows, compression=codec)
    os.rename("users.parquet", f"codec_{codec}.parquet")
encodings = {"user": "DELTA_BINARY_PACKED", "plan": "DELTA_BYTE_ARRAY", "score": "BYTE_STREAM_SPLIT"}
save("users", plain, rows, use_dictionary=False, column_encoding=encodings, write_page_checksum=True, compression="none")
os.rename("users.parquet", "encoding_delta.parquet")

# Moments of 96 bits, as Impala and old Spark write them.
at = [t * 10**9 + 7, -t * 10**9 + 7, None]
save("int96", [("at", pa.timestamp("ns")), ("n", pa.int32())], [[at[0], 1], [at[1], 2]],
     [[moment(at[0], 9, "Z"), 1], [moment(at[1], 9, "Z"), 2]], use_deprecated_int96_timestamps=True)

# Encrypted: all of it, and columns only.
class Kms(pe.KmsClient):
    def __init__(self, _):
        pe.KmsClient.__init__(self)
    def wrap_key(self, key, _):
        return base64.b64encode(key)
    def unwrap_key(self, wrapped, _):
        return base64.b64decode(wrapped)
table = pa.table({"user": [1, 2], "plan": ["free", "pro"]})
for name, plain_footer in (("encrypted", False), ("encrypted_columns", True)):
    config = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["plan"]}, plaintext_footer=plain_footer)
    properties = pe.CryptoFactory(Kms).file_encryption_properties(pe.KmsConnectionConfig(), config)
    with pq.ParquetWriter(name + ".parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
