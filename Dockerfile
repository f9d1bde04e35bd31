# One image for the operator and the movers: two programs, the libraries that they are linked to, and no shell.
# Without Docker, `make image` packs the same (deploy/pack-image).
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p doppel -p doppel-mover

FROM gcr.io/distroless/cc-debian12
COPY --from=build /src/target/release/doppel /src/target/release/doppel-mover /
USER 65532:65532
ENTRYPOINT ["/doppel"]
