# Two commands do everything on a fresh Debian 12+ or Ubuntu 24.04 machine with Rust:
#   make demo   sets up, builds and shows the line at work on its embedded default
#   make test   sets up and passes all tests
.PHONY: help setup setup-test demo build test lint deploy-checks bench bench-peers fmt deb

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@deploy/setup.sh build

setup-test:
	@deploy/setup.sh test

build: setup
	cargo build --release

demo: setup
	cargo run --release --bin hairline -- demo --out demo-out

test: setup-test
	cargo test

fmt:
	cargo fmt --check

lint: setup
	cargo clippy --all-targets -- -D warnings

deploy-checks: setup-test
	deploy/check.sh

bench: setup
	cargo bench
	cargo run --release --bin hairline -- bench

# PyTorch, ONNX Runtime and OpenVINO beside the engine; downloads them once into target/peers.
bench-peers: build
	test -d target/peers || python3 -m venv target/peers
	target/peers/bin/pip install --quiet torch onnx onnxruntime openvino safetensors numpy
	target/peers/bin/python benches/peers.py

deb: build
	cargo deb --no-build
