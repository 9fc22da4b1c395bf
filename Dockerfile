# One statically linked program and nothing else. Build with:
#   docker build --build-arg PROGRAM=evenkeel-proxy -t evenkeel.local/proxy:0.1.0 .
FROM rust:1.95-bookworm AS build
ARG PROGRAM
WORKDIR /src
COPY . .
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target "$target" --bin "$PROGRAM" \
 && cp "target/$target/release/$PROGRAM" /program

FROM scratch
COPY --from=build /program /program
USER 65532:65532
ENTRYPOINT ["/program"]
