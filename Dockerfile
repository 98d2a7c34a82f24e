# Ouzel in a container: `docker build -t ouzel .`. How to run it is in docs/operations.md, "In a container".
#
# What is checked without an engine: `cargo xtask tidy` looks that each path that is copied is there and is sent, and that
# Rust is the one of Cargo.toml; crates/cli/tests/image.rs gives the program each command, flag and variable below.

FROM rust:1.95-slim-trixie AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY xtask xtask
# With Kafka: its client and OpenSSL are compiled in, which takes a compiler for C++, make and Perl. Without: an empty one.
ARG FEATURES=kafka
RUN apt-get update && apt-get install --yes --no-install-recommends g++ make perl && rm -rf /var/lib/apt/lists/*
RUN cargo build --locked --release --package ouzel-cli --features "$FEATURES"

FROM debian:trixie-slim
# A user of its own, who owns one directory and cannot log in.
RUN groupadd --gid 10001 ouzel \
    && useradd --uid 10001 --gid ouzel --home-dir /data --no-create-home --shell /usr/sbin/nologin ouzel \
    && install --directory --owner=ouzel --group=ouzel --mode=0750 /data
COPY --from=build /src/target/release/ouzel /usr/local/bin/ouzel
COPY LICENSE /usr/share/doc/ouzel/LICENSE

# Numbers, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
# Events, and what was fetched (docs/assets.md).
ENV OUZEL__DATA__DIR=/data/events
ENV XDG_CACHE_HOME=/data/cache

EXPOSE 7070
# Drains: what was accepted is finished. Give it time: `docker stop --time 60`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["ouzel", "doctor", "--running"]

# IMPORTANT: it listens on the container's loopback only, because there are no keys and no TLS yet, and nobody who starts
# an image has said that others may send and read. Whoever wants a port says so: docs/operations.md.
ENTRYPOINT ["ouzel"]
CMD ["run"]
